"""Volumes that the kubelet renews in the pod: each is asked for its next state, for as long as that takes."""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import aclosing

import trio

from telepresence_py.model.errors import InternalError
from telepresence_py.model.events import Event, Level, Report
from telepresence_py.tunnel.interface import PodFiles, Tunnel
from telepresence_py.volumes.choose import MOST_BYTES, MOST_FILES
from telepresence_py.volumes.publish import publish
from telepresence_py.volumes.unpack import fill

AnyLive = Callable[[], Tunnel | None]
"""A tunnel whose link stands; None while there is none."""

_NO_LINK_SECONDS = 1.0


class Renewal:
    """One volume of the child, whose copy is at the descriptor `directory`, which stays the caller's.

    Sets `filled` once the copy holds what the pod has.
    """

    def __init__(self, path: str, directory: int, filled: trio.Event, report: Report) -> None:
        self._path = path
        self._directory = directory
        self._filled = filled
        self._report = report
        self._known: str | None = None  # the state that the pod told last; "" is none yet

    async def begin(self, pod_files: PodFiles) -> None:
        """The first copy. OSError when the link breaks, InternalError when it cannot be written."""
        if not pod_files.report.state:
            async with aclosing(pod_files.chunks()) as chunks:
                await fill({"/": self._directory}, chunks)
            self._filled.set()
            return
        self._known = ""
        try:
            await self._publish(pod_files)
        except OSError as error:
            if error.errno != errno.ESTALE:  # else `follow` begins with the state that is there now
                raise

    async def follow(self, any_live: AnyLive) -> None:
        """One state after the other, until cancelled; at once over for what the kubelet does not renew."""
        while self._known is not None:
            tunnel = any_live()
            if tunnel is None:
                await trio.sleep(_NO_LINK_SECONDS)
                continue
            try:
                async with tunnel.files(self._path, MOST_BYTES, MOST_FILES, self._known) as pod_files:
                    await self._renew(pod_files)
            except OSError as error:
                if error.errno != errno.ESTALE and not tunnel.lost.is_set():
                    self._give_up(error.strerror or str(error))

    async def _renew(self, pod_files: PodFiles) -> None:
        reason = pod_files.report.refusal
        if not pod_files.report.state:
            self._give_up(reason or "the pod does not tell of changes any more")
            return
        if not reason:
            try:
                await self._publish(pod_files)
            except InternalError as error:
                reason = str(error)
        if reason:
            self._known = pod_files.report.state  # else the same would come again at once
            self._warn(f"The volume at {self._path} has changed, but the command's copy has not: {reason}")

    async def _publish(self, pod_files: PodFiles) -> None:
        state = pod_files.report.state or ""
        async with aclosing(pod_files.chunks()) as chunks:
            changed = await publish(self._directory, state, chunks)
        self._known = state
        if changed and self._filled.is_set():
            text = f"The volume at {self._path} has changed, and the command's copy with it"
            self._report(Event("volume-renewed", text, Level.DETAIL, {"path": self._path}))
        self._filled.set()

    def _give_up(self, reason: str) -> None:
        self._known = None
        self._filled.set()
        self._warn(f"Changes of the volume at {self._path} do not reach the command any more: {reason}")

    def _warn(self, text: str) -> None:
        self._report(Event("volume-not-renewed", text, Level.WARNING, {"path": self._path}))
