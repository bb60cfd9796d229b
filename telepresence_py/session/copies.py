"""The pod's volumes as copies for the child: asked for before its namespaces exist, filled once they do, and
renewed from then on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, aclosing
from dataclasses import dataclass, field

import trio

from telepresence_py.model.errors import SessionLost
from telepresence_py.model.events import Event, Level, Report
from telepresence_py.model.network import Mount
from telepresence_py.session.renewal import AnyLive, Renewal
from telepresence_py.tunnel.interface import FileReport, PodFiles, Tunnel
from telepresence_py.volumes.choose import MOST_BYTES, MOST_FILES, is_renewed
from telepresence_py.volumes.unpack import read_files


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


async def ask_for(
    nursery: trio.Nursery, tunnel: Tunnel, any_live: AnyLive, mounts: Iterable[Mount], report: Report
) -> Copies:
    """Ask the pod for all mounts at once: one round trip, whatever their number.

    The streams stay open in `nursery` until `Copies.fill`, or until it is cancelled. What the kubelet renews
    is renewed there from then on, over whatever tunnel `any_live` tells. SessionLost when the link breaks
    before that.
    """
    wanted = tuple(mounts)
    offers: dict[str, _Offer] = {}

    async def offer_of(mount: Mount) -> None:
        offer = await nursery.start(_keep, tunnel, any_live, mount, report)
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
    if any(is_renewed(offer.mount) and offer.report.state is None for offer in offers.values()):
        text = "the sidecar's image is too old to tell of changed volumes: they stay as they are at the start"
        report(Event("volumes-not-renewed", text, Level.NOTICE))
    return Copies(offers[mount.path] for mount in wanted if mount.path in offers)


async def _keep(
    tunnel: Tunnel,
    any_live: AnyLive,
    mount: Mount,
    report: Report,
    task_status: trio.TaskStatus[_Offer] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Copy one mount; what the kubelet renews is renewed from then on."""
    unlike = "" if is_renewed(mount) else None
    with ExitStack() as owned:
        try:
            async with tunnel.files(mount.path, MOST_BYTES, MOST_FILES, unlike) as pod_files:
                offer = _Offer(mount, pod_files.report)
                if pod_files.report.kind == "file":
                    offer.content = await _content(pod_files)
                    offer.filled.set()
                task_status.started(offer)
                if offer.report.refusal or offer.content is not None:
                    return
                await offer.may_fill.wait()
                directory = os.dup(offer.directory)  # renewing may outlive the caller's descriptor
                owned.callback(os.close, directory)
                renewal = Renewal(mount.path, directory, offer.filled, report)
                await renewal.begin(pod_files)
        except OSError as error:
            raise SessionLost(
                f"the link broke while the volume at {mount.path} was copied; swap again"
            ) from error
        await renewal.follow(any_live)


async def _content(pod_files: PodFiles) -> bytes:
    name = "/" + pod_files.report.path.rpartition("/")[2]
    async with aclosing(pod_files.chunks()) as chunks:
        return (await read_files((name,), chunks)).get(name, b"")
