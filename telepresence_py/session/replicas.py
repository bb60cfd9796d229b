"""The sidecar pods of a swap: created held, adopted when Ready, followed by others when they are taken,
released and removed, whatever happens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import NoReturn

import trio

from telepresence_py.cluster.calls import Json
from telepresence_py.cluster.client import Cluster
from telepresence_py.cluster.owners import controller_uid
from telepresence_py.cluster.pods import delete_pod, set_owners
from telepresence_py.model.errors import PreconditionFailed, SessionLost, TelepresenceError, one_error
from telepresence_py.model.events import Event, Level, Report
from telepresence_py.session.follower import Follower
from telepresence_py.session.gates import tell_gates
from telepresence_py.session.holding import create_all
from telepresence_py.session.passing import Links, Passing
from telepresence_py.session.plan import SwapPlan
from telepresence_py.session.podboard import PodBoard
from telepresence_py.session.podstate import is_finished, is_original, is_ready, is_sidecar
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
    """The sidecar pods as a whole. Made by `hold_replicas`.

    `members` are those that are counted on, or not yet missed. `may_adopt` once the local process serves;
    `placed` is set once the originals are gone.
    """

    def __init__(self, cluster: Cluster, plan: SwapPlan, board: PodBoard, report: Report) -> None:
        self._cluster = cluster
        self._plan = plan
        self._board = board
        self._report = report
        self._restorer = Restorer(cluster, plan.workload, plan.target.uid, board, report)
        self._originals: frozenset[str] = frozenset()
        self._displacing = 0
        self._links: Links | None = None
        self._passing: Passing | None = None
        self._leaving = False
        self._restoring = trio.Lock()
        self._restored = False
        self.members: tuple[Replica, ...] = ()
        self.may_adopt = False
        self.placed = trio.Event()

    async def follow(self, links: Links) -> NoReturn:
        """From now on pods that are taken have successors, and new originals are displaced as well.

        SessionLost when the workload is gone, or cannot be held any longer.
        """
        self._links, self._passing = links, Passing(self._board, self._plan, links)
        with one_error():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._passing.run)
                await Follower(self._cluster, self._plan, self._board, self, self._report).run()
        raise AssertionError("unreachable")

    async def adopt(self) -> None:
        """Give the pods to their owners once they are Ready (`Tunnel.set_ready(True)` comes before).

        Adopted before it is Ready, a sidecar would itself be the first that its owner removes. Those whose
        owner has no Ready original stay held back, and are left to `follow`: an owner who wants 0 pods would
        remove them within milliseconds.
        """
        with one_error():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(tell_gates, self._board, is_sidecar, self._report)
                await self._side_by_side(self._wait_ready)
                nursery.cancel_scope.cancel()
        owners = {one.owner for one in self.members}
        of_owners = {
            uid: pod
            for uid, pod in self._board.pods.items()
            if not is_sidecar(pod) and controller_uid(pod) in owners
        }
        self._originals = frozenset(of_owners)
        good = {controller_uid(pod) for pod in of_owners.values() if is_original(pod) and is_ready(pod)}
        chosen = [one for one in self.members if one.owner in good and one.lives()]
        self._displacing = len(chosen)
        await self._side_by_side(self._adopt_one, chosen)
        self.may_adopt = True
        self._board.wake()
        self._report(Event("adopted", f"What is sent to {self._plan.workload} arrives in the local process"))

    async def wait_in_place(self) -> None:
        """Return when the originals have ended; until then they compute on in their grace period.

        SessionLost when the sidecars were taken meanwhile and nobody follows, PreconditionFailed when no
        controller acts.
        """
        with trio.move_on_after(SOON_SECONDS):
            await self._board.wait(self._in_place)
        if self._in_place() is None:
            await self._wait_for_slow_originals()
        self.placed.set()
        self._report(Event("in-place", f"In place: the local process is {self._plan.workload}"))

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
        plans = {one.pod_name: one for one in self._plan.replicas}

        def created(pod: Json) -> None:
            plan = plans[pod["metadata"]["name"]]
            self._enter(pod, plan.owner.uid, plan.original)
            self.members = tuple(sorted(self.members, key=lambda one: order.index(one.pod_name)))

        await create_all(self._cluster, self._plan, manifests, created)

    async def watch_over(self) -> None:
        """Tell which pods are lost; runs until cancelled."""
        while True:
            member, reason = await self._board.wait(self._newly_lost)
            member.gone_reason = reason
            member.gone.set()
            if self._passing is not None:
                self._passing.add(member)
            self._board.wake()
            if not (self._leaving or member.dismissed):
                text = f"The pod {member.pod_name} was taken from the session: {reason}"
                self._report(Event("replica-lost", text, Level.NOTICE, {"pod": member.pod_name}))

    # --- what a follower does ---------------------------------------------------------------------------

    def join(self, pod: Json, owner: str, original: str | None) -> Replica:
        """Another pod, held back; its tunnel is opened, and it reports ready in its turn."""
        member = self._enter(pod, owner, original)
        if self._links is not None:
            self._links.keep(member)
        return member

    async def give_away(self, member: Replica) -> bool:
        """Have it adopted. False when it is gone."""
        member.adopted = True  # before the request, since its answer may be lost
        return await set_owners(self._cluster, member.pod_name, member.uid, None)

    async def dismiss(self, member: Replica) -> None:
        """Remove a pod that is not needed any more, what it holds passed on before."""
        member.dismissed = True
        if self._passing is not None:
            await self._passing.before_end(member)
        try:
            await delete_pod(self._cluster, member.pod_name, member.uid)
        except TelepresenceError:
            member.dismissed = False
            raise

    def forget(self, member: Replica) -> None:
        self.members = tuple(one for one in self.members if one is not member)

    # --- inside -----------------------------------------------------------------------------------------

    def _enter(self, pod: Json, owner: str, original: str | None) -> Replica:
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        self._board.note(pod)
        member = Replica(self._cluster, self._plan.shape, name, self._board, uid)
        member.owner, member.original = owner, original
        self.members = (*self.members, member)
        self._report(Event("created", f"Created pod {name}", data={"pod": name}))
        return member

    def _newly_lost(self) -> tuple[Replica, str] | None:
        for member in self.members:
            if not member.gone.is_set() and (reason := member.lost_because()) is not None:
                return member, reason
        return None

    async def _wait_ready(self, member: Replica) -> None:
        try:
            await member.wait_ready()
        except SessionLost:
            if self._links is None:  # else it has a successor
                raise

    async def _adopt_one(self, member: Replica) -> None:
        if not await self.give_away(member) and self._links is None:
            raise SessionLost(
                f"the sidecar pod {member.pod_name} was deleted before it was adopted: try again"
            )

    def _remaining(self) -> list[Json]:
        """Originals that may still compute; of one that has ended, the object stays for a while."""
        return [
            pod for uid, pod in self._board.pods.items() if uid in self._originals and not is_finished(pod)
        ]

    def _in_place(self) -> bool | None:
        """As many originals have ended as sidecars were given away: any more were added by a scale-up."""
        if not any(member.lives() for member in self.members):
            if self._links is None:
                raise SessionLost(
                    f"the sidecar pods of {self._plan.workload} were taken while they were put in place"
                )
            return None
        return True if len(self._remaining()) <= max(len(self._originals) - self._displacing, 0) else None

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

    async def _side_by_side(
        self, step: Callable[[Replica], Awaitable[None]], members: Sequence[Replica] | None = None
    ) -> None:
        """One step for these members (None: all) at once; the first failure ends the others."""
        with one_error():
            async with trio.open_nursery() as nursery:
                for member in self.members if members is None else members:
                    nursery.start_soon(step, member)

    async def _restore(self, on_original_ready: OnOriginalReady | None) -> None:
        if self._restored:
            return
        by_uid = {member.uid: member for member in self.members}

        async def replaced(one: StandIn, pod_addresses: tuple[str, ...]) -> None:
            if on_original_ready is not None:
                await on_original_ready(by_uid[one.uid], pod_addresses)

        stand_ins = [
            StandIn(one.pod_name, one.uid, one.adopted, alone=not one.adopted and one.original is None)
            for one in self.members
        ]
        try:
            with one_error():
                await self._restorer.restore(self._plan.config.session, stand_ins, replaced)
        except TelepresenceError as error:
            self._report(Event("restore-failed", str(error), Level.WARNING))
        else:
            self._restored = True
            if any(one.adopted or one.alone for one in stand_ins):
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
