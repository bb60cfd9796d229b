"""What sessions left in a namespace, and putting it back; also from another machine than theirs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import trio

from telepresence_py.cluster.access import require_rights, restore_rights
from telepresence_py.cluster.calls import Json
from telepresence_py.cluster.client import Cluster
from telepresence_py.cluster.kinds import resource_of
from telepresence_py.cluster.owners import is_held_back
from telepresence_py.cluster.pods import annotate_pod, list_pods, read_log
from telepresence_py.cluster.workloads import find_workload, missing, require_namespace
from telepresence_py.model.errors import NoRights, WorkloadHeld, one_error
from telepresence_py.model.events import Event, Level, Report
from telepresence_py.model.preview import Change
from telepresence_py.session.courtesy import tell_restored_by
from telepresence_py.session.plan import NOTE_UNDO, removal_of_finished
from telepresence_py.session.podboard import PodBoard
from telepresence_py.session.podstate import TAKEN_ANNOTATION, Holder, holder_of, is_finished
from telepresence_py.session.restoring import Restorer, StandIn
from telepresence_py.session.run_plan import OWN_WORKLOAD
from telepresence_sidecar.contract import CONNECTED_LOG_PREFIX, LOST_LOG_PREFIX, SESSION_LABEL

STARTING_SECONDS = 120.0  # a younger sidecar that has seen no client yet may be waiting for its first
LOG_LINES = 200
RESTORE_SECONDS = 240.0


@dataclass(frozen=True)
class Leftover:
    """One sidecar pod.

    `state` is "live" when its session is connected or about to be, "dead" when it misses its session,
    "ending" when it is being removed, "finished" when it has ended and only its record is left.
    """

    pod_name: str
    uid: str
    session: str
    workload: str
    holder: str
    since: str
    state: str
    adopted: bool


async def list_leftovers(cluster: Cluster) -> tuple[Leftover, ...]:
    """All sidecar pods of the cluster's chosen namespace: one request, and one for each that still runs.

    NamedObjectMissing when there is no such namespace.
    """
    pods = (await list_pods(cluster, SESSION_LABEL)).items
    if not pods:
        await require_namespace(cluster)
    states: dict[str, str] = {}

    async def look(pod: Json) -> None:
        states[pod["metadata"]["uid"]] = await _state(cluster, pod)

    with one_error():
        async with trio.open_nursery() as nursery:
            for pod in pods:
                nursery.start_soon(look, pod)
    found = (_leftover(pod, states[pod["metadata"]["uid"]]) for pod in pods)
    return tuple(sorted(found, key=lambda one: (one.workload, one.pod_name)))


async def restore_leftovers(
    cluster: Cluster, report: Report, workload: str | None = None, force: bool = False, by: str = "somebody"
) -> tuple[Leftover, ...]:
    """Put back the originals of what `find_to_restore` finds, remove the pods, tell which; `by` is user@host
    of whoever does it."""
    found = await find_to_restore(cluster, report, workload, force)
    for name in dict.fromkeys(one.workload for one in found):
        with trio.move_on_after(RESTORE_SECONDS), one_error():
            await _restore_one(cluster, report, name, [one for one in found if one.workload == name], by)
    return found


async def find_to_restore(
    cluster: Cluster, report: Report, workload: str | None, force: bool
) -> tuple[Leftover, ...]:
    """The sidecar pods of `workload` (deployment/orders, run/api; None: of all) that may be removed.

    What a live session holds is taken from it by `force` alone: else WorkloadHeld when it was named, before
    anything is touched; and of all workloads it is left out, which is reported. NamedObjectMissing, with the
    nearest name, when there is neither such a workload nor anything left of it. NoRights names the first
    right that the restore would lack.
    """
    if workload is not None:
        workload = await _as_swapped(cluster, workload)
    found = [one for one in await list_leftovers(cluster) if workload in (None, one.workload)]
    if workload is not None and not found:
        await _require_known(cluster, workload)
    held = {one.workload: one for one in found if one.state == "live" and not force}
    for name, one in held.items():
        whose = f"{name} is held by a living session of {one.holder} since {one.since}"
        if workload is not None:
            raise WorkloadHeld(f"{whose}: end it there, or take it away with --force")
        report(Event("spared", f"{whose}: it is left alone without --force", Level.NOTICE))
    found = [one for one in found if one.workload not in held]
    for kind in dict.fromkeys(map(_kind, found)):
        await require_rights(cluster, restore_rights(kind))
    return tuple(found)


def changes_of(found: Sequence[Leftover]) -> tuple[Change, ...]:
    """PURE: what a restore of these does, in order. It undoes; whoever wants it otherwise swaps again."""
    made: list[Change] = []
    for one in found:
        again = f"`{'run' if one.workload.startswith(OWN_WORKLOAD) else f'swap {one.workload}'}` again"
        if one.state == "finished":
            made.append(removal_of_finished(one.pod_name))
            continue
        if one.state == "live":
            made.append(Change(f"take {one.pod_name} away from the session of {one.holder}", again))
        if one.adopted:
            back = f"take {one.pod_name} back, so that an original of {one.workload} starts"
            made.append(Change(back, again))
        made.append(Change(f"delete pod {one.pod_name}", again))
    for name in dict.fromkeys(one.workload for one in _serving(found)):
        made.append(Change(f"note in an Event of {name} who restored it, if that is allowed", NOTE_UNDO))
    return tuple(made)


def last_word(lines: Iterable[str]) -> str | None:
    """PURE: "connected" or "lost", whichever the sidecar's log says last; None when it says neither."""
    word = None
    for line in lines:
        if line.startswith(CONNECTED_LOG_PREFIX):
            word = "connected"
        elif line.startswith(LOST_LOG_PREFIX):
            word = "lost"
    return word


def _kind(one: Leftover) -> str | None:
    """Of the workload that it stands in for; None for a run's pod."""
    return None if one.workload.startswith(OWN_WORKLOAD) else one.workload.partition("/")[0]


async def _as_swapped(cluster: Cluster, workload: str) -> str:
    """A ReplicaSet of a deployment is swapped, and restored, as that deployment."""
    found = await find_workload(cluster, workload) if workload.startswith("replicaset/") else None
    return workload if found is None else str(found)


async def _require_known(cluster: Cluster, workload: str) -> None:
    """NamedObjectMissing for a workload that is not there; who may not look for it is taken at their word."""
    kind, _, name = workload.partition("/")
    if workload.startswith(OWN_WORKLOAD):
        return
    with suppress(NoRights):
        if await find_workload(cluster, workload) is None:
            raise await missing(cluster, resource_of(kind), kind, name)


async def _state(cluster: Cluster, pod: Json) -> str:
    if is_finished(pod):
        return "finished"
    if pod["metadata"].get("deletionTimestamp"):
        return "ending"
    container = holder_of(pod).container or pod["spec"]["containers"][0]["name"]
    word = last_word(await read_log(cluster, pod["metadata"]["name"], container, LOG_LINES))
    if word is None:
        created = datetime.fromisoformat(pod["metadata"]["creationTimestamp"])
        return "live" if (datetime.now(UTC) - created).total_seconds() < STARTING_SECONDS else "dead"
    return "live" if word == "connected" else "dead"


def _leftover(pod: Json, state: str) -> Leftover:
    holder = holder_of(pod)
    return Leftover(
        pod_name=pod["metadata"]["name"],
        uid=pod["metadata"]["uid"],
        session=holder.session,
        workload=holder.workload,
        holder=holder.who,
        since=holder.since,
        state=state,
        adopted=not is_held_back(pod) and not holder.workload.startswith(OWN_WORKLOAD),
    )


async def _restore_one(
    cluster: Cluster, report: Report, workload: str, pods: list[Leftover], by: str
) -> None:
    """All sidecar pods of one workload; of a workload that is gone, and of none, the pods are removed."""
    own = workload.startswith(OWN_WORKLOAD)
    found = None if own else await find_workload(cluster, workload)
    for one in pods:
        if one.state == "live":
            await annotate_pod(cluster, one.pod_name, one.uid, {TAKEN_ANNOTATION: "by restore --force"})
    board = PodBoard(cluster, SESSION_LABEL if found is None else found.selector, report)
    await board.refresh()
    restorer = Restorer(cluster, workload, "" if found is None else found.uid, board, report)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(board.follow)
        for session in dict.fromkeys(one.session for one in pods):
            stand_ins = [
                StandIn(one.pod_name, one.uid, one.adopted) for one in pods if one.session == session
            ]
            await restorer.restore(session, stand_ins)
        nursery.cancel_scope.cancel()
    done = "Removed" if own else "Restored"
    report(Event("restored", f"{done} {workload}", data={"pods": [one.pod_name for one in pods]}))
    if found is not None:
        for one in {one.session: one for one in _serving(pods)}.values():
            holder = Holder(one.holder, one.since, one.workload, "", one.session)
            await tell_restored_by(cluster, found, holder, by)


def _serving(pods: Iterable[Leftover]) -> list[Leftover]:
    """Those that stood in for an original when they were found."""
    return [one for one in pods if one.adopted and one.state != "finished"]
