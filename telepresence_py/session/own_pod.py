"""The pod of a run and its Service: created in this order, watched, and removed, whatever happens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import NoReturn

import trio

from telepresence_py.cluster.calls import Json
from telepresence_py.cluster.client import Cluster
from telepresence_py.cluster.pods import delete_pod, get_pod, list_pods, rehearse_pod
from telepresence_py.cluster.services import create_service, get_service
from telepresence_py.model.errors import PreconditionFailed, SessionLost, TelepresenceError, WorkloadHeld
from telepresence_py.model.events import Event, Level, Report
from telepresence_py.session.holding import create_one
from telepresence_py.session.plan import held
from telepresence_py.session.podboard import PodBoard
from telepresence_py.session.podstate import holder_of, is_finished, is_sidecar, trouble
from telepresence_py.session.rehearsal import Admission, first_admitted
from telepresence_py.session.replica import Replica
from telepresence_py.session.restoring import Restorer
from telepresence_py.session.run_plan import OWN_WORKLOAD, RunPlan, of_no_workload, service_of
from telepresence_sidecar.contract import SESSION_LABEL

REMOVE_SECONDS = 90.0
SERVICE_SECONDS = 20.0  # the garbage collector takes one or two once the pod is gone
LOOK_AGAIN_SECONDS = 0.3


async def rehearse_own_pod(cluster: Cluster, plan: RunPlan) -> Admission:
    """A form of the pod that the server would admit; nothing is touched.

    PreconditionFailed when there is none.
    """
    pods = [plan.pod]
    if plan.is_template:
        # for what webhooks add; a refusal of the model's own pod is none of one that asks for less
        with suppress(PreconditionFailed):
            pods.insert(0, await rehearse_pod(cluster, plan.pod))
    return await first_admitted(cluster, plan.shape, [of_no_workload(pod) for pod in pods], plan.name)


async def require_free_name(cluster: Cluster, plan: RunPlan) -> None:
    """WorkloadHeld tells who has a pod or a Service of that name. A finished session's count as gone."""
    pod = await get_pod(cluster, plan.name)
    if pod is not None and not is_sidecar(pod):
        raise _taken(f"a pod {plan.name} that is none of a session")
    if pod is not None and not is_finished(pod) and not pod["metadata"].get("deletionTimestamp"):
        raise held(holder_of(pod).workload, pod)
    if plan.ports:
        service = await get_service(cluster, plan.name)
        if service is not None and not _is_a_runs(service):
            raise _taken(f"a service {plan.name} that is none of a session")


async def finished_pods(cluster: Cluster) -> tuple[Json, ...]:
    """Of runs whose sessions died: the next run removes them, and with them their Services."""
    pods = (await list_pods(cluster, SESSION_LABEL)).items
    return tuple(pod for pod in pods if is_finished(pod) and holder_of(pod).workload.startswith(OWN_WORKLOAD))


class OwnPod:
    """The pod of a run. Made by `hold_own_pod`."""

    def __init__(self, plan: RunPlan, pod: Json, sidecar: Replica, board: PodBoard) -> None:
        self._plan = plan
        self._board = board
        self.json = pod
        self.sidecar = sidecar

    async def wait_lost(self) -> NoReturn:
        """SessionLost when somebody else ended the pod: it is not made again, as its address is gone."""
        reason = await self._board.wait(self._lost_because)
        raise SessionLost(f"the pod {self._plan.name} of this session {reason}: run again")

    def _lost_because(self) -> str | None:
        pod = self.sidecar.pod
        if pod is None or pod["metadata"].get("deletionTimestamp"):
            return "was deleted, by a drain or by hand"
        return f"has ended ({trouble(pod)})" if is_finished(pod) else None


@asynccontextmanager
async def hold_own_pod(
    nursery: trio.Nursery, cluster: Cluster, plan: RunPlan, admission: Admission, report: Report
) -> AsyncIterator[OwnPod]:
    """Create the pod and, with ports, the Service that it owns.

    Leaving the block removes both, however: shielded, with a deadline. Watching runs in `nursery`, which the
    caller opened. WorkloadHeld names who was faster; nothing is left behind then.
    """
    board = PodBoard(cluster, f"{SESSION_LABEL}={plan.session}", report)
    await board.refresh()
    watching = trio.CancelScope(shield=True)  # the removal still needs it when the nursery is cancelled
    created: list[Json] = []

    async def watch() -> None:
        with watching:
            await board.follow()

    def note(pod: Json) -> None:
        board.note(pod)
        created.append(pod)
        report(Event("created", f"Created pod {plan.name}", data={"pod": plan.name}))

    nursery.start_soon(watch)
    try:
        for left in await finished_pods(cluster):
            await delete_pod(cluster, left["metadata"]["name"], left["metadata"]["uid"])
        await create_one(cluster, plan.shape, admission.form(plan.name), note)
        (pod,) = created
        uid = pod["metadata"]["uid"]
        if plan.ports:
            await _create_service(cluster, plan, uid)
            report(Event("created", f"Created service {plan.name}", data={"service": plan.name}))
        yield OwnPod(plan, pod, Replica(cluster, plan.shape, plan.name, board, uid), board)
    finally:
        with trio.CancelScope(shield=True):
            await _remove(cluster, plan, board, report if created else lambda _event: None)
        watching.cancel()


async def _create_service(cluster: Cluster, plan: RunPlan, pod_uid: str) -> None:
    """Who has the pod of the name has the Service's, too, but for somebody who is no session."""
    with trio.move_on_after(SERVICE_SECONDS):
        while await create_service(cluster, service_of(plan, pod_uid)) is None:
            there = await get_service(cluster, plan.name)
            if there is not None and pod_uid in _owner_uids(there):
                return  # the answer was lost
            if there is not None and not _is_a_runs(there):
                raise _taken(f"a service {plan.name} that is none of a session")
            await trio.sleep(LOOK_AGAIN_SECONDS)
        return
    raise WorkloadHeld(
        f"the service {plan.name} of a former session does not go: see `kubectl describe service "
        f"{plan.name}`, or choose another name by --name"
    )


async def _remove(cluster: Cluster, plan: RunPlan, board: PodBoard, report: Report) -> None:
    """What cannot be done is reported, and heals: the pod ends by itself, the next run removes it.

    By the session's label, so that a pod whose creation we never heard of goes as well.
    """
    removed = False
    try:
        with trio.move_on_after(REMOVE_SECONDS):
            await Restorer(cluster, plan.workload, "", board, report).restore(plan.session, ())
            if plan.ports:
                await _wait_no_service(cluster, plan)
            removed = True
    except TelepresenceError as error:
        report(Event("remove-failed", str(error), Level.WARNING))
    if removed:
        report(Event("removed", f"Removed {plan.workload}"))
    else:
        text = (
            f"{plan.workload} is not removed yet: its pod ends when it has missed this session for "
            f"{plan.shape.config.grace:.0f} s, and the next run in the namespace removes what is left"
        )
        report(Event("not-removed", text, Level.WARNING))


async def _wait_no_service(cluster: Cluster, plan: RunPlan) -> None:
    """Until the garbage collector took it, so that the name is free when we are gone."""
    with trio.move_on_after(SERVICE_SECONDS):
        while True:
            service = await get_service(cluster, plan.name)
            if service is None or service["metadata"].get("labels", {}).get(SESSION_LABEL) != plan.session:
                return
            await trio.sleep(LOOK_AGAIN_SECONDS)


def _is_a_runs(service: Json) -> bool:
    return SESSION_LABEL in (service["metadata"].get("labels") or {})


def _owner_uids(service: Json) -> set[str]:
    return {owner["uid"] for owner in service["metadata"].get("ownerReferences") or ()}


def _taken(by: str) -> WorkloadHeld:
    return WorkloadHeld(f"{by} is there already: choose another name by --name")
