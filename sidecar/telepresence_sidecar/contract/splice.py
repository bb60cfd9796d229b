"""Two connections made one: bytes, half-close, resets and back-pressure pass through, both ways."""

from __future__ import annotations

import asyncio
import errno as errors
import socket
import struct

from .stream import MuxStream

_NO_LINGER = struct.pack("ii", 1, 0)


def reset(transport: asyncio.Transport, error: int = errors.ECONNRESET) -> None:
    """End a connection so that its peer sees an error, not an orderly end: RST, or RESET with `error`."""
    if isinstance(transport, MuxStream):
        transport.abort(error)
        return
    connection = transport.get_extra_info("socket")
    if connection is not None and connection.family != socket.AF_UNIX and not transport.is_closing():
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()


class _End(asyncio.Protocol):
    """Listens to one transport and does the same to the other."""

    def __init__(self, splice: Splice, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.other: _End
        self.ended = False
        self._splice = splice

    def data_received(self, data: bytes) -> None:
        self.other.transport.write(data)

    def eof_received(self) -> bool:
        self.ended = True
        if self.other.ended:
            self._splice.finish()
        elif not self.other.transport.is_closing():
            self.other.transport.write_eof()
        return True

    def pause_writing(self) -> None:
        self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        self.other.transport.resume_reading()

    def connection_lost(self, reason: Exception | None) -> None:
        self._splice.end_lost(self.other.transport, reason)


class Splice:
    """Pairs two connected transports of any kind (sockets, MuxStreams) and owns both from then on.

    Both should already be open; whoever was reading them before must have stopped. `done` is set when both
    are closed: its result is None after an orderly end in both directions, else the error that ended it.
    """

    def __init__(self, left: asyncio.Transport, right: asyncio.Transport) -> None:
        self.done: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self._open = 2
        self._orderly = False
        self._reason: Exception | None = None
        self._left, self._right = _End(self, left), _End(self, right)
        self._left.other, self._right.other = self._right, self._left

    def start(self, left_ended: bool = False) -> Splice:
        """Begin. `left_ended`: the peer of the left one has sent EOF already, and the right one was told."""
        self._left.ended = left_ended
        for end in (self._left, self._right):
            end.transport.set_protocol(end)
            if end.transport.is_closing() or end.ended:
                continue
            sink = end.other.transport
            if sink.get_write_buffer_size() > sink.get_write_buffer_limits()[1]:
                end.transport.pause_reading()  # the sink's resume_writing is still to come
            else:
                end.transport.resume_reading()
        return self

    def abort(self, error: int = errors.ECONNRESET) -> None:
        """End both with a reset."""
        self._reason = self._reason or OSError(error, "aborted")
        for end in (self._left, self._right):
            reset(end.transport, error)

    # --- what the ends call --------------------------------------------------------------------------

    def finish(self) -> None:
        self._orderly = True
        self._left.transport.close()
        self._right.transport.close()

    def end_lost(self, other: asyncio.Transport, reason: Exception | None) -> None:
        self._open -= 1
        if not self._orderly or reason is not None:
            self._orderly = False
            self._reason = self._reason or reason or ConnectionResetError(errors.ECONNRESET, "aborted")
            reset(other, getattr(reason, "errno", None) or errors.ECONNRESET)
        if self._open == 0 and not self.done.done():
            self.done.set_result(self._reason)
