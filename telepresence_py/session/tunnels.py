"""One tunnel to each sidecar pod of the session."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import NoReturn

import trio

from telepresence_py.model.errors import SessionLost
from telepresence_py.session.replica import Replica
from telepresence_py.tunnel.connection import open_tunnel
from telepresence_py.tunnel.interface import Tunnel
from telepresence_py.tunnel.keys import SessionKey

_CONNECT_SECONDS = 30.0
_HAND_OVER_SECONDS = 5.0


class Tunnels:
    """The open tunnels by sidecar pod name. `any_live` serves what does not care which pod it leaves from."""

    def __init__(self) -> None:
        self._by_pod: dict[str, Tunnel] = {}

    def add(self, pod_name: str, tunnel: Tunnel) -> None:
        self._by_pod[pod_name] = tunnel

    @property
    def members(self) -> tuple[Tunnel, ...]:
        return tuple(self._by_pod.values())

    def any_live(self) -> Tunnel | None:
        """The first whose link stands; None when all are lost."""
        return next((tunnel for tunnel in self._by_pod.values() if not tunnel.lost.is_set()), None)

    def set_ready(self) -> None:
        for tunnel in self.members:
            tunnel.set_ready(True)

    async def wait_lost(self) -> NoReturn:
        """SessionLost when the last tunnel is."""
        for tunnel in self.members:
            await tunnel.lost.wait()
        raise SessionLost("the link to the sidecar was lost; the originals are put back, then swap again")

    async def hand_over(self, replica: Replica, addresses: tuple[str, ...]) -> None:
        """Connections that this sidecar holds or still receives go to the restored original."""
        tunnel = self._by_pod.get(replica.pod_name)
        if tunnel is None or tunnel.lost.is_set():
            return
        with trio.move_on_after(_HAND_OVER_SECONDS):
            try:
                await tunnel.hand_over(addresses)
            except (OSError, SessionLost):
                return  # a lost sidecar holds nothing any more
            await tunnel.leave()


@asynccontextmanager
async def open_tunnels(
    nursery: trio.Nursery, pods: Iterable[Replica], key: SessionKey
) -> AsyncIterator[Tunnels]:
    """Connect to all sidecars at once, each as soon as its container runs; the links live in `nursery`.

    Raises what `wait_running` and `open_tunnel` raise.
    """
    tunnels = Tunnels()
    leaving = trio.Event()

    async def keep_one(
        replica: Replica, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        fingerprint = await replica.wait_running()
        async with open_tunnel(replica.dial, key, fingerprint, _CONNECT_SECONDS) as tunnel:
            tunnels.add(replica.pod_name, tunnel)
            task_status.started()
            await leaving.wait()

    async with trio.open_nursery() as connecting:
        for replica in pods:
            connecting.start_soon(nursery.start, keep_one, replica)
    try:
        yield tunnels
    finally:
        leaving.set()
