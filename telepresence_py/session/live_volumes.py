"""The pod's volumes that stay in the pod: asked for before the child's namespaces exist, served once they
do."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from telepresence_py.model.errors import SessionLost
from telepresence_py.model.events import Event, Level, Report
from telepresence_py.model.network import Mount
from telepresence_py.session.renewal import AnyLive
from telepresence_py.tunnel.bridge import in_asyncio
from telepresence_py.tunnel.interface import FileOperations, Tunnel

if TYPE_CHECKING:
    from telepresence_py.fuse.server import Server


@dataclass(frozen=True)
class _Offer:
    mount: Mount
    operations: FileOperations


class LiveVolumes:
    """What the pod lets us work on; made by `open_live`. `close` it, after which nothing waits for the
    pod."""

    def __init__(self, any_live: AnyLive) -> None:
        self._any_live = any_live
        self._offers: dict[str, _Offer] = {}
        self._servers: list[Server] = []

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(self._offers)

    @property
    def writable(self) -> frozenset[str]:
        return frozenset(
            path
            for path, offer in self._offers.items()
            if not (offer.mount.read_only or offer.operations.report.read_only)
        )

    def add(self, mount: Mount, operations: FileOperations) -> None:
        self._offers[mount.path] = _Offer(mount, operations)

    def serve(self, path: str, descriptor: int) -> None:
        """Answer the kernel for that volume; the descriptor is ours from now on."""
        # half a megabyte that most sessions never need
        from telepresence_py.fuse.codec import Owner
        from telepresence_py.fuse.server import Server
        from telepresence_py.fuse.volume import Volume

        async def renew() -> FileOperations:
            tunnel = self._any_live()
            if tunnel is None:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return await tunnel.operations(path)

        owner = Owner(os.geteuid(), os.getegid())
        volume = Volume(self._offers[path].operations, renew, owner)
        self._servers.append(Server(descriptor, volume))

    def close(self) -> None:
        """Idempotent."""
        while self._servers:
            self._servers.pop().close()
        for offer in self._offers.values():
            offer.operations.close()


async def open_live(
    tunnel: Tunnel, any_live: AnyLive, mounts: Iterable[Mount], report: Report
) -> tuple[LiveVolumes, tuple[Mount, ...]]:
    """The volumes, and those mounts that are single files, which are to be copied: one round trip for all.

    What the pod does not let us work on is told. SessionLost when the link breaks meanwhile.
    """
    live = LiveVolumes(any_live)
    wanted = tuple(mounts)
    opened: dict[str, FileOperations] = {}
    files: list[Mount] = []

    async def ask(mount: Mount) -> None:
        try:
            opened[mount.path] = await in_asyncio(tunnel.operations, mount.path)
        except NotADirectoryError:
            files.append(mount)
        except OSError as error:
            if tunnel.lost.is_set() or error.errno == errno.EIO:
                raise SessionLost(
                    f"the link broke while the volume at {mount.path} was asked for; swap again"
                ) from error
            text = f"{mount.path} is not there: {error.strerror}"
            report(Event("volume-skipped", text, Level.NOTICE))

    async with trio.open_nursery() as asking:
        for mount in wanted:
            asking.start_soon(ask, mount)
    for mount in wanted:
        if mount.path in opened:
            live.add(mount, opened[mount.path])
    return live, tuple(mount for mount in wanted if mount in files)
