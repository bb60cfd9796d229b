"""A session answers whoever of its user asks at its socket: one line of JSON for each line `status`."""

from __future__ import annotations

from contextlib import suppress

import trio

from telepresence_py.model.records import SessionRecord
from telepresence_py.model.status import PodStatus, SessionStatus
from telepresence_py.session.recording import Recorded
from telepresence_py.session.tunnels import Tunnels

QUESTION = b"status"
MOST_VISITORS = 16
"""At a time; whoever else comes is turned away."""

SILENT_SECONDS = 60.0
"""After which one who asks nothing, or does not take the answer, has to come again."""

_LONGEST_LINE = 256


async def receive_visitors(recorded: Recorded, tunnels: Tunnels) -> None:
    """Serve the entrance, if there is one, until cancelled; it stays the caller's."""
    if recorded.entrance is None:
        return
    entrance = trio.SocketListener(trio.socket.from_stdlib_socket(recorded.entrance))
    room = trio.CapacityLimiter(MOST_VISITORS)

    async def receive(visitor: trio.SocketStream) -> None:
        async with visitor:
            with suppress(trio.WouldBlock, trio.BrokenResourceError):  # it is full, or the visitor went away
                room.acquire_nowait()
                try:
                    await _answer(visitor, recorded.record, tunnels)
                finally:
                    room.release()

    await trio.serve_listeners(receive, [entrance])


def status_of(record: SessionRecord, tunnels: Tunnels) -> SessionStatus:
    """As it is now."""
    return SessionStatus(
        session=record.session,
        workload=record.workload,
        namespace=record.namespace,
        context=record.context,
        since=record.since,
        pid=record.pid,
        pods=tuple(PodStatus(pod, tunnel.status()) for pod, tunnel in tunnels.by_pod.items()),
    )


async def _answer(visitor: trio.SocketStream, record: SessionRecord, tunnels: Tunnels) -> None:
    """Until it goes, says something else, or says nothing for long."""
    said = b""
    with trio.move_on_after(SILENT_SECONDS) as patience:
        while data := await visitor.receive_some(_LONGEST_LINE):
            *lines, said = (said + data).split(b"\n")
            if set(lines) - {QUESTION} or len(said) > len(QUESTION):
                return
            for _ in lines:
                await visitor.send_all(status_of(record, tunnels).to_json() + b"\n")
                patience.deadline = trio.current_time() + SILENT_SECONDS
