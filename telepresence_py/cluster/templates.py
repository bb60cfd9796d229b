"""Reading what a pod may be made like: the pod template of an object, claims and an account."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field

from telepresence_py.cluster.calls import (
    CRONJOBS,
    DAEMONSETS,
    DEPLOYMENTS,
    JOBS,
    PODS,
    REPLICASETS,
    REPLICATIONCONTROLLERS,
    SERVICEACCOUNTS,
    SERVICES,
    STATEFULSETS,
    Call,
    Json,
    Resource,
)
from telepresence_py.cluster.client import Cluster
from telepresence_py.cluster.kinds import NO_WORKLOADS
from telepresence_py.cluster.owners import claims_of, controller
from telepresence_py.cluster.workloads import controlled_by, missing, read_claims
from telepresence_py.model.errors import BadUsage

WITH_TEMPLATE = {
    one.singular: one
    for one in (
        DEPLOYMENTS,
        STATEFULSETS,
        DAEMONSETS,
        REPLICASETS,
        REPLICATIONCONTROLLERS,
        JOBS,
        CRONJOBS,
        PODS,
    )
}


@dataclass(frozen=True)
class Template:
    """What `source` (job/migrate) makes its pods from: `json` has metadata and spec.

    `is_pod` tells that the source is a pod itself, which admission has completed long ago.
    """

    source: str
    json: Json
    is_pod: bool = False

    @property
    def claims(self) -> tuple[str, ...]:
        """Names of the persistent volume claims of its volumes."""
        return claims_of(self.json["spec"])


@dataclass(frozen=True)
class ModelSnapshot:
    """A template with what it leans on, at one moment.

    `claims` are the access modes of its claims by name; `pods` are all of the namespace if it has claims.
    """

    template: Template
    services: tuple[Json, ...]
    claims: Mapping[str, frozenset[str]] = field(default_factory=dict)
    pods: tuple[Json, ...] = ()


async def read_model(cluster: Cluster, kind: str, name: str) -> ModelSnapshot:
    """Two requests, and some more where there are claims; none changes anything.

    NamedObjectMissing names the nearest spelling, BadUsage tells what kind has no pod template.
    """
    template = await _read_template(cluster, kind, name)
    services = await _list(cluster, SERVICES)
    if not template.claims:
        return ModelSnapshot(template, services)
    claims = await read_claims(cluster, template.claims)
    return ModelSnapshot(template, services, claims, await _list(cluster, PODS))


async def require_service_account(cluster: Cluster, name: str) -> None:
    """NamedObjectMissing with the nearest name; whoever may not look finds out by creating the pod."""
    answer = await cluster.call(Call("get", SERVICEACCOUNTS, name), accept={403, 404})
    if answer.status == 404:
        raise await missing(cluster, SERVICEACCOUNTS, SERVICEACCOUNTS.singular, name)


async def _list(cluster: Cluster, resource: Resource) -> tuple[Json, ...]:
    return tuple((await cluster.call(Call("list", resource))).json.get("items") or ())


async def _read_template(cluster: Cluster, kind: str, name: str) -> Template:
    source = f"{kind}/{name}"
    resource = WITH_TEMPLATE.get(kind)
    if resource is None:
        return Template(source, await _template_of_custom(cluster, kind, name))
    answer = await cluster.call(Call("get", resource, name), accept={404})
    if answer.status == 404:
        raise await missing(cluster, resource, kind, name)
    return template_of(source, answer.json)


def template_of(source: str, thing: Json) -> Template:
    """PURE: the template of an object of WITH_TEMPLATE."""
    spec = thing["spec"]
    match source.partition("/")[0]:
        case PODS.singular:
            return Template(source, _of_a_pod(thing), is_pod=True)
        case CRONJOBS.singular:
            return Template(source, spec["jobTemplate"]["spec"]["template"])
        case STATEFULSETS.singular:
            return Template(source, _with_first_claims(thing))
    return Template(source, spec["template"])


def _of_a_pod(pod: Json) -> Json:
    spec = deepcopy(pod["spec"])
    if controller(pod) is not None:
        # a StatefulSet's: the name of that very pod
        spec.pop("hostname", None)
        spec.pop("subdomain", None)
    return {"metadata": pod["metadata"], "spec": spec}


def _with_first_claims(statefulset: Json) -> Json:
    """Its template with the claims of its first pod, which the controller names after template and pod."""
    spec, name = statefulset["spec"], statefulset["metadata"]["name"]
    first = (spec.get("ordinals") or {}).get("start", 0)
    template: Json = deepcopy(spec["template"])
    made = [claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates") or ()]
    kept = [one for one in template["spec"].get("volumes") or () if one["name"] not in made]
    template["spec"]["volumes"] = kept + [
        {"name": claim, "persistentVolumeClaim": {"claimName": f"{claim}-{name}-{first}"}} for claim in made
    ]
    return template


async def _template_of_custom(cluster: Cluster, kind: str, name: str) -> Json:
    """By the ReplicaSets that it controls: of the one with most pods, the newest of those."""
    listed = await _list(cluster, REPLICASETS)
    owned = [one for one in listed if controlled_by(one, kind, name)]
    if owned:
        newest = max(
            owned, key=lambda one: (one["spec"].get("replicas", 1), one["metadata"]["creationTimestamp"])
        )
        return dict(newest["spec"]["template"])
    owners = [owner for owner in map(controller, listed) if owner is not None]
    if kind in NO_WORKLOADS or kind not in {owner["kind"].lower() for owner in owners}:
        kinds = ", ".join(WITH_TEMPLATE)
        raise BadUsage(f'--like {kind}/{name}: "{kind}" is no kind with a pod template; there are {kinds}')
    raise await missing(cluster, None, kind, name)
