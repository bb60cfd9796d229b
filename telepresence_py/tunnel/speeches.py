"""What the messages of a port-forward's WebSocket mean; there are two ways to say it. Pure.

SPDY (subprotocol SPDY/3.1+portforward.k8s.io, from Kubernetes 1.30 on; kubectl's own): the messages are
pieces of one byte stream of SPDY frames, which the API server unwraps and passes on to the node. What goes to
the pod so costs the node's runtime less than half of what WebSocket messages do (docs/decisions/0017).

Channels (v4.channel.k8s.io): the first byte of each message is its channel: 0 data, 1 an error's text. The
first message of *each* channel carries the port number and is skipped; data may come between the two.
"""

from __future__ import annotations

import struct
import zlib
from typing import Protocol, cast

SPDY_PROTOCOL = "SPDY/3.1+portforward.k8s.io"
CHANNEL_PROTOCOL = "v4.channel.k8s.io"
LONGEST_PREFIX = 8


class Told(Protocol):
    """Who hears what the messages say."""

    def data(self, data: bytes) -> None: ...
    def failed(self, text: str) -> None: ...
    def ended(self) -> None: ...
    def reply(self, message: bytes) -> None: ...


class Speech(Protocol):
    opening: bytes
    """The first message that is sent; empty for none."""

    def prefix(self, size: int) -> bytes:
        """What stands before `size` bytes of data in a message."""

    def passes(self, size: int) -> bool:
        """Whether the next `size` bytes are data through and through; they count as heard then. Most are."""

    def heard(self, payload: memoryview, continued: bool) -> None:
        """A binary message, or with `continued` more of the one before."""


class Channels:
    opening = b""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._seen: set[int] = set()
        self._channel = 0

    def prefix(self, size: int) -> bytes:
        return b"\0"

    def passes(self, size: int) -> bool:
        return False

    def heard(self, payload: memoryview, continued: bool) -> None:
        if not payload:
            return
        if not continued:
            self._channel = payload[0]
            if self._channel not in self._seen:
                self._seen.add(self._channel)
                return
            payload = payload[1:]
        if self._channel == 0:
            self._told.data(bytes(payload))
        elif payload:
            self._told.failed(_text(payload))


_SYN_STREAM, _RST_STREAM, _PING, _GOAWAY = 1, 3, 6, 7
_CONTROL, _FIN = 0x80030000, 0x01000000
_LENGTH = 0xFFFFFF
_ERROR_STREAM, _DATA_STREAM = 1, 3
_HEADER = struct.Struct("!II")  # stream, or control bit, version and type; flags and length
_U32 = struct.Struct("!I")
_STREAM = struct.Struct("!IIBB")  # number, the one it belongs to, priority, slot


class Spdy:
    """SPDY/3.1 (draft-mbelshe-httpbis-spdy-00): one stream for errors, half closed at once, and one for data.
    Its flow control is not used by Kubernetes' own ends, so nor here."""

    def __init__(self, port: int, told: Told) -> None:
        # one for all streams; without SPDY's dictionary, which no reader insists on
        headers = zlib.compressobj()
        self.opening = _syn_stream(_ERROR_STREAM, b"error", port, headers, _FIN) + _syn_stream(
            _DATA_STREAM, b"data", port, headers, 0
        )
        self._told = told
        self._stream = 0
        self._left = 0
        """Bytes still to come of a frame of `_stream`."""
        self._held = b""

    def prefix(self, size: int) -> bytes:
        return _HEADER.pack(_DATA_STREAM, size)

    def passes(self, size: int) -> bool:
        if self._stream != _DATA_STREAM or not 0 < size <= self._left:
            return False
        self._left -= size
        return True

    def heard(self, payload: memoryview, continued: bool) -> None:
        if self._held:
            payload, self._held = memoryview(self._held + payload), b""
        position, size = 0, len(payload)
        while position < size:
            if self._left:
                end = min(size, position + self._left)
                self._left -= end - position
                self._piece(payload[position:end])
                position = end
                continue
            used = self._frame(payload[position:])
            if not used:
                self._held = bytes(payload[position:])
                return
            position += used

    def _frame(self, rest: memoryview) -> int:
        """Begins the next frame; control frames are short, and dealt with when they are whole. Returns the
        bytes used, 0 while there are too few."""
        if len(rest) < _HEADER.size:
            return 0
        word, second = cast(tuple[int, int], _HEADER.unpack_from(rest))
        length = second & _LENGTH
        if word >> 31 == 0:
            self._stream, self._left = word, length
            if word == _DATA_STREAM and second & _FIN and not length:
                self._told.ended()
            return _HEADER.size
        end = _HEADER.size + length
        if len(rest) < end:
            return 0
        self._control(word & 0xFFFF, rest[:end])
        return end

    def _piece(self, piece: memoryview) -> None:
        if self._stream == _DATA_STREAM:
            self._told.data(bytes(piece))
        elif self._stream == _ERROR_STREAM:
            self._told.failed(_text(piece))

    def _control(self, kind: int, frame: memoryview) -> None:
        if kind == _PING:
            self._told.reply(bytes(frame))
        elif kind == _RST_STREAM:
            self._told.failed("the node has reset the port-forward")
        elif kind == _GOAWAY:
            self._told.ended()


def _syn_stream(number: int, kind: bytes, port: int, compress: zlib._Compress, flags: int) -> bytes:
    words = (b"streamtype", kind, b"port", b"%d" % port, b"requestid", b"0")
    block = _U32.pack(len(words) // 2) + b"".join(_U32.pack(len(word)) + word for word in words)
    packed = compress.compress(block) + compress.flush(zlib.Z_SYNC_FLUSH)
    body = _STREAM.pack(number, 0, 0, 0) + packed
    return _HEADER.pack(_CONTROL | _SYN_STREAM, flags | len(body)) + body


def _text(payload: memoryview) -> str:
    return bytes(payload).decode("utf-8", "replace").strip()
