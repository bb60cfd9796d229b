"""One tunnel to each sidecar pod of the session, for as long as that pod lives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from importlib import import_module
from math import inf
from typing import NoReturn

import trio

from telepresence_py.model.errors import SessionLost, TelepresenceError
from telepresence_py.model.events import Event, Level, Report
from telepresence_py.session.links import LinkNews
from telepresence_py.session.replica import Replica
from telepresence_py.tunnel.interface import Tunnel
from telepresence_py.tunnel.keys import SessionKey

_CONNECT_SECONDS = 30.0
_HAND_OVER_SECONDS = 5.0
_AGAIN_SECONDS = 0.5
_CONNECT_AGAIN_SECONDS = 10.0

NEXT_SECONDS = 60.0
"""Without any tunnel a session lives on so long: another pod may have to pull its image first."""


class Tunnels:
    """The open tunnels by sidecar pod name; they come and go. `any_live` serves what does not care which pod
    it leaves from.

    `left` are those that were told goodbye. `keep` opens a tunnel to a pod that came later; what is in its
    way is told by `Replica.fail`. `followed` tells that pods which are lost have successors, so that a
    session without any waits for one; where not they but the link was lost it waits as long as that takes,
    unless it `ends_with_link`.
    """

    keep: Callable[[Replica], None]

    def __init__(self) -> None:
        self._by_pod: dict[str, Tunnel] = {}
        self._going: set[Tunnel] = set()
        self.left: set[Tunnel] = set()
        self._came = trio.Event()
        self._attach: Callable[[Tunnel], None] = lambda tunnel: None
        self._serving: Callable[[], Awaitable[None]] = trio.sleep_forever
        self._may_be_ready = trio.Event()
        self._cut_off: set[Replica] = set()
        self._silent = False
        self.keepers = 0
        self.followed = False
        self.ends_with_link = False

    def add(self, pod_name: str, tunnel: Tunnel) -> None:
        self._by_pod[pod_name] = tunnel
        self._silent = False
        self._attach(tunnel)
        self._wake()

    @property
    def by_pod(self) -> Mapping[str, Tunnel]:
        """Of each pod's name its tunnel."""
        return self._by_pod

    @property
    def members(self) -> tuple[Tunnel, ...]:
        return tuple(self._by_pod.values())

    def any_live(self) -> Tunnel | None:
        """The first that lives: one whose link stands before one that is dialled again, those of pods on
        their way out last; None when all are lost."""
        live = [tunnel for tunnel in self._by_pod.values() if not tunnel.lost.is_set()]
        return min(live, key=lambda one: (one in self._going, one.link_down.is_set()), default=None)

    def attach_to(self, attach: Callable[[Tunnel], None]) -> None:
        """`attach` hears of every tunnel, of those to come in their turn."""
        self._attach = attach
        for tunnel in self.members:
            attach(tunnel)

    def ready_when(self, serving: Callable[[], Awaitable[None]]) -> None:
        """From now on each pod, also one to come, reports ready once `serving()` has returned for it."""
        self._serving = serving
        self._may_be_ready.set()

    async def report_ready(self, tunnel: Tunnel) -> None:
        await self._may_be_ready.wait()
        await self._serving()
        tunnel.set_ready(True)

    async def wait_lost(self) -> NoReturn:
        """SessionLost when the last tunnel is, and no other comes: in time, or at all."""
        while True:
            while (tunnel := self.any_live()) is not None:
                await tunnel.lost.wait()
            if self._cut_off and self.ends_with_link:
                raise SessionLost(
                    "the link was lost for longer than the grace period (--on-lost exit): the originals come "
                    "back by themselves"
                )
            with trio.move_on_after(self._patience()) as waiting:
                await self._came.wait()
            if waiting.cancelled_caught and self.any_live() is None:
                raise SessionLost(
                    f"for {NEXT_SECONDS:.0f} s no pod stood that could be reached: the link was lost, or the "
                    "pods are taken again and again; the originals come back by themselves"
                )

    def _patience(self) -> float:
        if self._cut_off and self.followed and not self.ends_with_link:
            return inf
        return NEXT_SECONDS if self.keepers or self.followed else 0

    def cut_off(self, replica: Replica) -> bool:
        """As far as anybody knows it lives, and it is not reached. True when from now on none is, and the
        session waits for the link."""
        self._cut_off.add(replica)
        self._wake()
        was_silent, self._silent = self._silent, self.any_live() is None
        return self._silent and not was_silent and self._patience() == inf

    def not_cut_off(self, replica: Replica) -> None:
        """It is reached, or gone."""
        self._cut_off.discard(replica)
        self._wake()

    def _wake(self) -> None:
        self._came.set()
        self._came = trio.Event()

    async def hand_over(self, replica: Replica, addresses: tuple[str, ...]) -> None:
        """Connections that this sidecar holds or still receives go to the restored original; it is left."""
        tunnel = self._by_pod.get(replica.pod_name)
        if tunnel is not None and await _hand_over(tunnel, addresses):
            self.left.add(tunnel)
            with trio.move_on_after(_HAND_OVER_SECONDS):
                await tunnel.leave()

    async def pass_on(self, replica: Replica, addresses: tuple[str, ...]) -> None:
        """Its pod is going: what it holds or still receives goes to another of the workload.

        Nothing new leaves by it while there are others; what is under way goes on as long as the pod does.
        """
        tunnel = self._by_pod.get(replica.pod_name)
        if tunnel is not None:
            self._going.add(tunnel)
            await _hand_over(tunnel, addresses)

    def remove(self, pod_name: str, tunnel: Tunnel) -> None:
        self._going.discard(tunnel)
        if self._by_pod.get(pod_name) is tunnel:
            del self._by_pod[pod_name]


def _import_ssh() -> None:
    """Takes a tenth of a second, which it may while a pod starts, and not before."""
    import_module("telepresence_py.tunnel.connection")


async def _hand_over(tunnel: Tunnel, addresses: tuple[str, ...]) -> bool:
    """False when the sidecar is lost: then it holds nothing any more."""
    if tunnel.lost.is_set():
        return False
    with trio.move_on_after(_HAND_OVER_SECONDS):
        try:
            await tunnel.hand_over(addresses)
        except (OSError, SessionLost):
            return False
    return True


@asynccontextmanager
async def open_tunnels(
    nursery: trio.Nursery,
    pods: Iterable[Replica],
    key: SessionKey,
    patience_seconds: float,
    report: Report,
) -> AsyncIterator[Tunnels]:
    """Connect to all sidecars at once, each as soon as its container runs; the links live in `nursery`, and
    each is dialled again for `patience_seconds` when it is lost.

    Raises what `wait_running` and `open_tunnel` raise. Pods that come later are for `Tunnels.keep`.
    """
    tunnels = Tunnels()
    keeper = _Keeper(tunnels, key, patience_seconds, report)

    async def keep_late(replica: Replica) -> None:
        try:
            await keeper.keep(replica)
        except TelepresenceError as error:
            replica.fail(str(error))

    def keep(replica: Replica) -> None:
        nursery.start_soon(keep_late, replica)

    tunnels.keep = keep
    async with trio.open_nursery() as connecting:
        for replica in pods:
            connecting.start_soon(nursery.start, keeper.keep, replica)
    try:
        yield tunnels
    finally:
        keeper.leaving.set()


def _named(replica: Replica, error: TelepresenceError) -> TelepresenceError:
    """That a pod could not be connected is told by its end, where it has ended: the server says less."""
    reason = replica.lost_because()
    if reason is None:
        return error
    return SessionLost(f"the pod {replica.pod_name} was lost while it was connected: {reason}; try again")


class _Keeper:
    """Opens the tunnel to a pod, and again when the link breaks, until the pod is gone or all is over."""

    def __init__(self, tunnels: Tunnels, key: SessionKey, patience_seconds: float, report: Report) -> None:
        self._tunnels = tunnels
        self._key = key
        self._patience_seconds = patience_seconds
        self._report = report
        self._news = LinkNews(report)
        self.leaving = trio.Event()

    async def keep(
        self, replica: Replica, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Started once the tunnel stands; until then errors are raised."""
        self._tunnels.keepers += 1
        _import_ssh()
        try:
            fingerprint = await replica.wait_running()
            try:
                tunnel = await self._once(replica, fingerprint, _CONNECT_SECONDS, task_status)
            except TelepresenceError as error:
                raise _named(replica, error) from error
            while not (self._is_over(replica, tunnel) or await replica.is_gone_for_sure()):
                if self._tunnels.cut_off(replica):
                    self._tell_of_silence()
                with suppress(TelepresenceError):  # it is tried again while the pod lives
                    tunnel = await self._once(replica, fingerprint, _CONNECT_AGAIN_SECONDS)
                await trio.sleep(_AGAIN_SECONDS)
        finally:
            self._tunnels.keepers -= 1
            self._tunnels.not_cut_off(replica)

    def _is_over(self, replica: Replica, tunnel: Tunnel) -> bool:
        return self.leaving.is_set() or replica.gone.is_set() or tunnel in self._tunnels.left

    def _tell_of_silence(self) -> None:
        text = (
            "The cluster is not reached: the workload goes back by itself; the command lives on, and takes "
            "its place again when the cluster is back"
        )
        self._report(Event("cut-off", text, Level.WARNING))

    async def _once(
        self,
        replica: Replica,
        fingerprint: str,
        seconds: float,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> Tunnel:
        """One link, until it is lost."""
        from telepresence_py.tunnel.connection import open_tunnel

        async with open_tunnel(
            replica.dial, self._key, fingerprint, seconds, self._patience_seconds
        ) as tunnel:
            self._tunnels.add(replica.pod_name, tunnel)
            self._tunnels.not_cut_off(replica)
            task_status.started()
            await self._attend(replica, tunnel)
            self._news.forget(tunnel, given_up=not self._is_over(replica, tunnel))
        self._tunnels.remove(replica.pod_name, tunnel)
        return tunnel

    async def _attend(self, replica: Replica, tunnel: Tunnel) -> None:
        async with trio.open_nursery() as nursery:

            async def until(event: trio.Event) -> None:
                await event.wait()
                nursery.cancel_scope.cancel()

            async def until_cut_off() -> None:
                """A pod that is going may serve as long as its link stands; it is not dialled again."""
                await replica.gone.wait()
                await until(tunnel.link_down)

            nursery.start_soon(until, tunnel.lost)
            nursery.start_soon(until, self.leaving)
            nursery.start_soon(until_cut_off)
            nursery.start_soon(self._news.follow, tunnel, replica.gone)
            nursery.start_soon(self._tunnels.report_ready, tunnel)
