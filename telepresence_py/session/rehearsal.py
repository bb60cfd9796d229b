"""Asking the server beforehand, by dry runs, what a session's pods may be like; nothing is touched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from telepresence_py.cluster.calls import Json
from telepresence_py.cluster.client import Cluster
from telepresence_py.cluster.pods import rehearse_pod
from telepresence_py.cluster.refusals import is_quota
from telepresence_py.model.errors import PreconditionFailed
from telepresence_py.session.manifest import (
    SidecarShape,
    lost_native_sidecars,
    on_node,
    ordinary_containers,
    sidecar_pod,
)
from telepresence_py.session.plan import SwapPlan

Form = Callable[[str], Json]
"""Makes the manifest of the sidecar pod of that name."""


@dataclass(frozen=True)
class Admission:
    """A form that the server would admit, and the pod that it would make of it.

    Where a webhook does not support dry runs, what it would say is found out by creating the pod.
    """

    form: Form
    pod: Json


NO_DRY_RUN = "does not support dry run"


async def rehearse(cluster: Cluster, plan: SwapPlan) -> dict[str, Json]:
    """The manifest of each sidecar pod, by name, in a form that the server would admit.

    PreconditionFailed when the original's own pod would be refused now (a swap could never be undone), or
    when no form of the sidecar's pod is admitted. Two requests for each owner of pods, more where the
    first form is refused.
    """
    manifests: dict[str, Json] = {}
    for owner in dict.fromkeys(one.owner.uid for one in plan.replicas):
        replicas = [one for one in plan.replicas if one.owner.uid == owner]
        form = await admitted_form(cluster, plan.shape, replicas[0].plain_pod, replicas[0].pod_name)
        for one in replicas:
            manifest = form(one.pod_name)
            manifests[one.pod_name] = manifest if one.node is None else on_node(manifest, one.node)
    return manifests


def check_admitted(pod: Json, shape: SidecarShape) -> None:
    """PreconditionFailed when the pod would not end with the sidecar: an outage, should the session die."""
    others = [name for name in ordinary_containers(pod) if name != shape.container]
    if others:
        raise PreconditionFailed(
            f"a webhook adds container {others[0]} to the pods of {shape.workload} even where it is a "
            "native sidecar already, so the pod would not end with the session: switch the injection off for "
            "this workload, or let the webhook inject a native sidecar"
        )


async def admitted_form(cluster: Cluster, shape: SidecarShape, plain: Json, name: str) -> Form:
    """The first form of a sidecar pod instead of the pod `plain`, itself admitted, that the server would
    admit."""
    try:
        admitted = await rehearse_pod(cluster, plain)
    except PreconditionFailed as error:
        if NO_DRY_RUN in str(error):
            return partial(sidecar_pod, plain, shape=shape)
        if is_quota(error):
            raise
        raise PreconditionFailed(
            f"{shape.workload} is left alone, as its own pod could not be started again after a swap: {error}"
        ) from error
    return (await first_admitted(cluster, shape, (admitted, plain), name)).form


async def first_admitted(cluster: Cluster, shape: SidecarShape, pods: Sequence[Json], name: str) -> Admission:
    """The first form of a sidecar pod instead of one of these that the server would admit, the best first.

    Of several refusals the plainest is told.
    """
    refusals: list[PreconditionFailed] = []
    outliving: list[PreconditionFailed] = []
    for form in _forms(pods, shape):
        manifest = form(name)
        try:
            answer = await rehearse_pod(cluster, _under_any_name(manifest))
        except PreconditionFailed as error:
            if NO_DRY_RUN in str(error):
                return Admission(form, manifest)
            refusals.append(error)
            continue
        if lost_native_sidecars(manifest, answer):
            raise PreconditionFailed(
                "pods of several containers need Kubernetes 1.29 or newer (native sidecars)"
            )
        try:
            check_admitted(answer, shape)
        except PreconditionFailed as error:
            outliving.append(error)
        else:
            return Admission(form, answer)
    raise (outliving or refusals)[0]


def _forms(pods: Sequence[Json], shape: SidecarShape) -> Iterator[partial[Json]]:
    """The best first: as admitted; from the template where webhooks would add everything a second time.

    Each with small requests, and with the resources of the replaced container where a LimitRange wants more.
    """
    for pod in pods:
        for own_resources in (False, True):
            yield partial(sidecar_pod, pod, shape=shape, own_resources=own_resources)


def _under_any_name(manifest: Json) -> Json:
    """Whether the name is taken is for the creation to find out, which can tell by whom."""
    metadata = {key: value for key, value in manifest["metadata"].items() if key != "name"}
    return manifest | {"metadata": metadata | {"generateName": f"{manifest['metadata']['name']}-"}}
