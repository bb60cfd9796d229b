"""Taking a workload: creating the sidecar pods, the first one's name is the lock between sessions."""

from __future__ import annotations

from collections.abc import Callable

import trio

from telepresence_py.cluster.calls import Json
from telepresence_py.cluster.client import Cluster
from telepresence_py.cluster.pods import create_pod, delete_pod, get_pod, list_pods
from telepresence_py.model.errors import PreconditionFailed, WorkloadHeld, one_error
from telepresence_py.session.manifest import SidecarShape
from telepresence_py.session.plan import SwapPlan, held
from telepresence_py.session.podstate import holder_of, is_finished, is_sidecar
from telepresence_py.session.rehearsal import check_admitted

FORMER_SECONDS = 45.0  # a former session's pod has at most 30 s to end
LOOK_AGAIN_SECONDS = 0.3


async def create_all(
    cluster: Cluster, plan: SwapPlan, manifests: dict[str, Json], created: Callable[[Json], None]
) -> None:
    """Create the pods of the plan, the first one before the others; `created` hears of each at once.

    WorkloadHeld names who was faster; what was created by then is the caller's to remove.
    """
    first, *others = (manifests[one.pod_name] for one in plan.replicas)
    await create_one(cluster, plan.shape, first, created)
    with one_error():
        async with trio.open_nursery() as nursery:
            for manifest in others:
                nursery.start_soon(create_one, cluster, plan.shape, manifest, created)
    await require_no_rival(cluster, plan)


async def create_one(
    cluster: Cluster, shape: SidecarShape, manifest: Json, created: Callable[[Json], None]
) -> None:
    """Create one pod, or find that it is ours already; a finished one of that name is removed first."""
    name = manifest["metadata"]["name"]
    with trio.move_on_after(FORMER_SECONDS):
        while True:
            pod = await create_pod(cluster, manifest) or await _own_or_gone(cluster, shape, name)
            if pod is not None:
                created(pod)
                check_admitted(pod, shape)
                return
            await trio.sleep(LOOK_AGAIN_SECONDS)
    raise WorkloadHeld(
        f"the pod {name} of a former session does not end: see `kubectl describe pod {name}`, then try again"
    )


async def _own_or_gone(cluster: Cluster, shape: SidecarShape, name: str) -> Json | None:
    """The pod of that name if it is ours after all (the answer was lost), None if it is on its way out.

    Raises the error that says who has it else.
    """
    pod = await get_pod(cluster, name)
    if pod is None:
        return None
    if not is_sidecar(pod):
        raise PreconditionFailed(
            f"a pod {name} that is none of a session is in the way of {shape.workload}: delete it"
        )
    if holder_of(pod).session == shape.config.session:
        return pod
    if is_finished(pod):
        await delete_pod(cluster, name, pod["metadata"]["uid"])
    elif not pod["metadata"].get("deletionTimestamp"):
        raise held(shape.workload, pod)
    return None


async def require_no_rival(cluster: Cluster, plan: SwapPlan) -> None:
    """WorkloadHeld unless ours is the oldest living sidecar pod of the workload.

    During a rollout two sessions may have locked by the names of two ReplicaSets: the older pod wins.
    """
    pods = (await list_pods(cluster, plan.selector)).items
    living = [
        pod
        for pod in filter(plan.target.may_have, pods)
        if is_sidecar(pod) and not is_finished(pod) and not pod["metadata"].get("deletionTimestamp")
    ]
    oldest = min(
        living, key=lambda p: (p["metadata"]["creationTimestamp"], p["metadata"]["name"]), default=None
    )
    if oldest is not None and holder_of(oldest).session != plan.config.session:
        raise held(plan.workload, oldest)
