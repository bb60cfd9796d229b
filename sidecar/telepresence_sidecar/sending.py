"""FILES streams: a path of the pod goes to the laptop as a report, one line of JSON, and a tar stream."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from dataclasses import dataclass

from .contract.stream import MuxStream
from .files import Survey, survey, tar_chunks
from .renewal import another_state, state_of
from .serving_files import serve_operations


@dataclass(frozen=True)
class _Request:
    """`unlike` is the state of a volume that the laptop has, "" if none; None if it asks for no state.
    `operations` asks for the files themselves, to be worked on where they are."""

    path: str
    max_bytes: int
    max_files: int
    unlike: str | None
    operations: bool

    @classmethod
    def parse(cls, text: bytes) -> _Request:
        """ValueError, TypeError or KeyError when it is none."""
        fields = json.loads(text)
        unlike = fields.get("unlike")
        return cls(
            str(fields["path"]),
            int(fields["max_bytes"]),
            int(fields["max_files"]),
            None if unlike is None else str(unlike),
            bool(fields.get("operations")),
        )


class _Reader(asyncio.Protocol):
    """Lets the sending task write no faster than the stream carries away, and ends it with the stream."""

    def __init__(self, sending: asyncio.Task[None] | None) -> None:
        self._sending = sending
        self._may_write = asyncio.Event()
        self._may_write.set()

    async def wait(self) -> None:
        await self._may_write.wait()

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._sending is not None:
            self._sending.cancel()


async def send_files(stream: MuxStream) -> None:
    """Answers one request; a task of its own, which ends when the laptop gives the stream up.

    One with `unlike` waits until the volume is in another state, and is answered with the contents of that
    state alone. ESTALE ends the stream when the state is replaced while it is sent.
    """
    try:
        request = _Request.parse(stream.opening.rest)
    except (ValueError, TypeError, KeyError, AttributeError):
        stream.refuse(errno.EINVAL)
        return
    if request.operations:
        serve_operations(stream, request.path)
        return
    reader = _Reader(asyncio.current_task())
    stream.set_protocol(reader)
    state = "" if request.unlike is None else state_of(request.path)
    if request.unlike:
        state = await another_state(request.path, request.unlike)
    source = os.path.join(request.path, state) if state else request.path
    seen = await asyncio.to_thread(survey, source, request.max_bytes, request.max_files)
    stream.accept()
    stream.write(_report_line(request, seen, state))
    if not seen.refusal:
        chunks = tar_chunks(seen)
        while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
            stream.write(chunk)
            await reader.wait()
    if state and state_of(request.path) != state:  # files may have been missed
        stream.abort(errno.ESTALE)
    else:
        stream.close()


def _report_line(request: _Request, seen: Survey, state: str) -> bytes:
    """The fields of the laptop's FileReport; those that an older laptop does not know only when asked for."""
    report = {**seen.report(), "path": request.path}
    if request.unlike is not None:
        report["state"] = state
    return json.dumps(report).encode("ascii") + b"\n"
