"""The pod's volumes as copies for the child: asked for before its namespaces exist, filled once they do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field

import trio

from telepresence_py.model.errors import SessionLost
from telepresence_py.model.events import Event, Level, Report
from telepresence_py.model.network import Mount
from telepresence_py.tunnel.interface import FileReport, PodFiles, Tunnel
from telepresence_py.volumes.choose import MOST_BYTES, MOST_FILES
from telepresence_py.volumes.unpack import fill, read_files


@dataclass
class _Offer:
    """One mount that the pod agreed to send."""

    mount: Mount
    report: FileReport
    content: bytes | None = None  # of a single file
    directory: int = -1
    may_fill: trio.Event = field(default_factory=trio.Event)
    filled: trio.Event = field(default_factory=trio.Event)


class Copies:
    """What the pod sends of its volumes; made by `ask_for`."""

    def __init__(self, offers: Iterable[_Offer]) -> None:
        self._offers = tuple(offers)

    @property
    def directories(self) -> tuple[str, ...]:
        """Mount paths that are directories, to be made by the isolation."""
        return tuple(offer.mount.path for offer in self._offers if offer.content is None)

    @property
    def writable(self) -> frozenset[str]:
        return frozenset(
            offer.mount.path for offer in self._offers if offer.content is None and not offer.mount.read_only
        )

    @property
    def files(self) -> dict[str, bytes]:
        """Mount paths that are single files (subPath), with their contents."""
        return {offer.mount.path: offer.content for offer in self._offers if offer.content is not None}

    async def fill(self, directories: Mapping[str, int]) -> None:
        """Write the contents through the descriptors, which stay the caller's; returns when all are there."""
        for offer in self._offers:
            if offer.content is None:
                offer.directory = directories[offer.mount.path]
                offer.may_fill.set()
        for offer in self._offers:
            await offer.filled.wait()


async def ask_for(nursery: trio.Nursery, tunnel: Tunnel, mounts: Iterable[Mount], report: Report) -> Copies:
    """Ask the pod for all mounts at once: one round trip, whatever their number.

    The streams stay open in `nursery` until `Copies.fill`, or until it is cancelled. SessionLost when the
    link breaks.
    """
    wanted = tuple(mounts)
    offers: dict[str, _Offer] = {}

    async def offer_of(mount: Mount) -> None:
        offer = await nursery.start(_copy, tunnel, mount)
        if offer.report.refusal:
            text = f"the volume at {mount.path} is not copied: {offer.report.refusal}"
            report(Event("volume-skipped", text, Level.NOTICE))
        else:
            offers[mount.path] = offer
        if offer.report.unreadable:
            names = ", ".join(offer.report.unreadable)
            report(Event("volume-partial", f"not readable in the pod, so left out: {names}", Level.NOTICE))

    async with trio.open_nursery() as asking:
        for mount in wanted:
            asking.start_soon(offer_of, mount)
    return Copies(offers[mount.path] for mount in wanted if mount.path in offers)


async def _copy(
    tunnel: Tunnel, mount: Mount, task_status: trio.TaskStatus[_Offer] = trio.TASK_STATUS_IGNORED
) -> None:
    try:
        async with tunnel.files(mount.path, MOST_BYTES, MOST_FILES) as pod_files:
            offer = _Offer(mount, pod_files.report)
            if pod_files.report.kind == "file":
                offer.content = await _content(pod_files)
            task_status.started(offer)
            if pod_files.report.refusal:
                return
            if offer.content is None:
                await offer.may_fill.wait()
                async with aclosing(pod_files.chunks()) as chunks:
                    await fill({"/": offer.directory}, chunks)
            offer.filled.set()
    except OSError as error:
        raise SessionLost(
            f"the link broke while the volume at {mount.path} was copied; swap again"
        ) from error


async def _content(pod_files: PodFiles) -> bytes:
    name = "/" + pod_files.report.path.rpartition("/")[2]
    async with aclosing(pod_files.chunks()) as chunks:
        return (await read_files((name,), chunks)).get(name, b"")
