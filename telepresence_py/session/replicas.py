"""The sidecar pods of a swap: created held, adopted when Ready, released and removed, whatever happens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NoReturn

import trio

from telepresence_py.cluster.calls import Json
from telepresence_py.cluster.client import Cluster
from telepresence_py.cluster.owners import controller_uid
from telepresence_py.cluster.pods import set_owners
from telepresence_py.cluster.workloads import find_workload
from telepresence_py.model.errors import PreconditionFailed, SessionLost, TelepresenceError, one_error
from telepresence_py.model.events import Event, Level, Report
from telepresence_py.session.gates import tell_gates
from telepresence_py.session.holding import create_all
from telepresence_py.session.plan import SwapPlan
from telepresence_py.session.podboard import PodBoard
from telepresence_py.session.podstate import is_sidecar
from telepresence_py.session.rehearsal import rehearse
from telepresence_py.session.replica import Replica
from telepresence_py.session.restoring import Restorer, StandIn

__all__ = ["OnOriginalReady", "Replica", "Replicas", "hold_replicas"]

OnOriginalReady = Callable[[Replica, tuple[str, ...]], Awaitable[None]]
"""Called while this sidecar still serves: the addresses of the restored original that takes over."""

SOON_SECONDS = 3.0  # after which it is said that originals are still ending
ACTED_SECONDS = 30.0  # within which a ReplicaSet begins to remove an original, or never will
END_SECONDS = 30.0  # beyond the original's own grace period
RESTORE_SECONDS = 240.0


class Replicas:
    """The sidecar pods as a whole. Made by `hold_replicas`."""

    def __init__(self, cluster: Cluster, plan: SwapPlan, board: PodBoard, report: Report) -> None:
        self._cluster = cluster
        self._plan = plan
        self._board = board
        self._report = report
        self._restorer = Restorer(cluster, plan.workload, plan.target.uid, board, report)
        self._originals: frozenset[str] = frozenset()
        self._lost = trio.Event()
        self._lost_reason = ""
        self._leaving = False
        self._restoring = trio.Lock()
        self._restored = False
        self.members: tuple[Replica, ...] = ()

    async def adopt(self) -> None:
        """Give the pods to their owners once they are Ready (`Tunnel.set_ready(True)` comes before).

        Adopted before it is Ready, a sidecar would itself be the first that its owner removes. One that
        replaces nobody stays held back: its owner, who wants 0 pods, would remove it within milliseconds.
        """
        with one_error():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(tell_gates, self._board, is_sidecar, self._report)
                await self._side_by_side(Replica.wait_ready)
                nursery.cancel_scope.cancel()
        owners = {controller_uid(pod) for uid, pod in self._board.pods.items() if uid in self._planned()}
        self._originals = frozenset(
            uid
            for uid, pod in self._board.pods.items()
            if not is_sidecar(pod) and controller_uid(pod) in owners
        )
        if self._plan.replaces:
            await self._side_by_side(self._adopt_one)
        self._report(Event("adopted", f"What is sent to {self._plan.workload} arrives in the local process"))

    async def wait_in_place(self) -> None:
        """Return when the originals are gone; until then they compute on in their grace period.

        SessionLost when the sidecars were taken meanwhile, PreconditionFailed when no controller acts.
        """
        with trio.move_on_after(SOON_SECONDS):
            await self._board.wait(self._in_place)
        if self._in_place() is None:
            await self._wait_for_slow_originals()
        self._report(Event("in-place", f"In place: the local process is {self._plan.workload}"))

    async def wait_lost(self) -> NoReturn:
        """SessionLost when the workload was deleted or the last sidecar pod was taken."""
        await self._lost.wait()
        raise SessionLost(self._lost_reason)

    async def restore(self, on_original_ready: OnOriginalReady | None = None) -> bool:
        """Originals back and Ready, sidecar pods gone; True when all of that was seen.

        Idempotent, and shielded: a cancellation waits until it is over, four minutes at most. It raises no
        TelepresenceError: what could not be done is reported, and heals when the sidecars miss their session.
        """
        self._leaving = True
        with trio.CancelScope(shield=True):
            async with self._restoring:
                with trio.move_on_after(RESTORE_SECONDS):
                    await self._restore(on_original_ready)
                if not self._restored:
                    self._report(Event("not-restored", self._heals_itself(), Level.WARNING))
        return self._restored

    async def create(self, manifests: dict[str, Json]) -> None:
        """Create the held pods; what exists when this fails is removed by `restore`."""
        order = [one.pod_name for one in self._plan.replicas]

        def created(pod: Json) -> None:
            name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
            self._board.note(pod)
            members = (*self.members, Replica(self._cluster, self._plan.shape, name, self._board, uid))
            self.members = tuple(sorted(members, key=lambda one: order.index(one.pod_name)))
            self._report(Event("created", f"Created pod {name}", data={"pod": name}))

        await create_all(self._cluster, self._plan, manifests, created)

    async def watch_over(self) -> None:
        """Tell which pods are lost; runs until cancelled."""
        while True:
            member, reason = await self._board.wait(self._newly_lost)
            member.gone_reason = reason
            member.gone.set()
            if self._leaving:
                continue
            text = f"The sidecar pod {member.pod_name} is lost: {reason}"
            self._report(Event("replica-lost", text, Level.WARNING, {"pod": member.pod_name}))
            await self._check_workload(reason)

    async def _check_workload(self, reason: str) -> None:
        workload = self._plan.workload
        try:
            found = await find_workload(self._cluster, workload, self._plan.target.uid)
        except TelepresenceError:
            return  # unknown; whoever watches the tunnels notices their end
        if found is None:
            self._lose(f"{workload} was deleted, and with it the pods that stood in for it")
        elif all(member.gone.is_set() for member in self.members):
            self._lose(f"the session has lost {workload}: {reason}; the originals come back by themselves")

    def _lose(self, sentence: str) -> None:
        self._lost_reason = self._lost_reason or sentence
        self._lost.set()

    def _newly_lost(self) -> tuple[Replica, str] | None:
        for member in self.members:
            if not member.gone.is_set() and (reason := member.lost_because()) is not None:
                return member, reason
        return None

    def _planned(self) -> frozenset[str]:
        return frozenset(one.original_uid for one in self._plan.replicas if one.original_uid)

    async def _adopt_one(self, member: Replica) -> None:
        member.adopted = True  # before the request, since its answer may be lost
        if not await set_owners(self._cluster, member.pod_name, member.uid, None):
            raise SessionLost(
                f"the sidecar pod {member.pod_name} was deleted before it was adopted: try again"
            )

    def _remaining(self) -> list[Json]:
        return [pod for uid, pod in self._board.pods.items() if uid in self._originals]

    def _in_place(self) -> bool | None:
        """As many originals are gone as there are sidecars: any more were added by a scale-up meanwhile."""
        if all(member.gone.is_set() for member in self.members):
            raise SessionLost(
                f"the sidecar pods of {self._plan.workload} were taken while they were put in place"
            )
        return True if len(self._remaining()) <= max(len(self._originals) - len(self.members), 0) else None

    async def _wait_for_slow_originals(self) -> None:
        def acted() -> bool | None:
            return (
                self._in_place()
                or any(p["metadata"].get("deletionTimestamp") for p in self._remaining())
                or None
            )

        with trio.move_on_after(ACTED_SECONDS) as patience:
            await self._board.wait(acted)
        if patience.cancelled_caught:
            raise PreconditionFailed(
                f"no controller of the cluster takes the sidecar into {self._plan.workload} within "
                f"{ACTED_SECONDS:.0f} s: is its kube-controller-manager running?"
            )
        ending = self._remaining()
        names = ", ".join(pod["metadata"]["name"] for pod in ending)
        self._report(
            Event("originals-ending", f"Waiting for the end of {names}, which computes on meanwhile")
        )
        grace = max((pod["metadata"].get("deletionGracePeriodSeconds") or 30 for pod in ending), default=30)
        with trio.move_on_after(grace + END_SECONDS) as patience:
            await self._board.wait(self._in_place)
        if patience.cancelled_caught:
            text = f"Still running beside the local process, though told to end: {names}"
            self._report(Event("originals-linger", text, Level.WARNING))

    async def _side_by_side(self, step: Callable[[Replica], Awaitable[None]]) -> None:
        """One step for all members at once; the first failure ends the others."""
        with one_error():
            async with trio.open_nursery() as nursery:
                for member in self.members:
                    nursery.start_soon(step, member)

    async def _restore(self, on_original_ready: OnOriginalReady | None) -> None:
        if self._restored:
            return
        by_uid = {member.uid: member for member in self.members}

        async def replaced(one: StandIn, pod_addresses: tuple[str, ...]) -> None:
            if on_original_ready is not None:
                await on_original_ready(by_uid[one.uid], pod_addresses)

        stand_ins = [StandIn(one.pod_name, one.uid, one.adopted) for one in self.members]
        try:
            with one_error():
                await self._restorer.restore(self._plan.config.session, stand_ins, replaced)
        except TelepresenceError as error:
            self._report(Event("restore-failed", str(error), Level.WARNING))
        else:
            self._restored = True
            if any(one.adopted for one in stand_ins) or not self._plan.replaces:
                self._report(Event("restored", f"Restored {self._plan.workload}"))

    def _heals_itself(self) -> str:
        return (
            f"{self._plan.workload} is not restored yet: its originals come back when the sidecars have "
            f"missed this session for {self._plan.config.grace:.0f} s"
        )


@asynccontextmanager
async def hold_replicas(
    nursery: trio.Nursery, cluster: Cluster, plan: SwapPlan, report: Report
) -> AsyncIterator[Replicas]:
    """Rehearse on the server, then create the sidecar pods, held back from adoption.

    Leaving the block, however, restores what `restore()` has not: shielded, with a deadline. Watching runs in
    `nursery`, which the caller opened. WorkloadHeld names the holder; nothing is left behind then.
    """
    manifests = await rehearse(cluster, plan)
    board = PodBoard(cluster, plan.selector, report)
    await board.refresh()
    replicas = Replicas(cluster, plan, board, report)
    watching = trio.CancelScope(shield=True)  # the restore still needs it when the nursery is cancelled

    async def watch() -> None:
        with watching:
            async with trio.open_nursery() as inner:
                inner.start_soon(board.follow)
                inner.start_soon(replicas.watch_over)

    nursery.start_soon(watch)
    try:
        await replicas.create(manifests)
        yield replicas
    finally:
        await replicas.restore()
        watching.cancel()
