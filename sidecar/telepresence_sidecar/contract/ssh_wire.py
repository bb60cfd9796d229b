"""What lies between the mux and the socket at both ends: an SSH channel above, a byte transport below.

asyncssh writes every packet at once and takes no notice of `pause_writing`. So a transport of ours stands
below it: it gathers what is written within one tick, and it alone knows how much waits. The mux asks it for
room. No import of asyncssh here: to it these are a transport and a session, by shape.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from .ssh_packets import Cipher, DataPackets

ROOM = 256 << 10
"""Bytes that may wait between the mux and the kernel."""

MAX_PACKET = 192 << 10
"""What each end promises to receive in one SSH packet; both must promise the same. More than a lane writes at
once, unless it has thousands of words to say: asyncssh's own way, which cuts, costs twice as much."""

CHANNEL_WINDOW = 1 << 30
"""The mux has a window per stream; the channel's own shall never be the one that stops."""

_WIRE = "telepresence_wire"


class BatchingTransport(asyncio.Transport):
    """The transport that asyncssh sees. Writes of one tick leave as one write to `lower`.

    `on_receive` takes what comes from `lower`; `on_room` is called when `room` has become more than 0 again.
    """

    def __init__(self, lower: asyncio.Transport, ssh: asyncio.Protocol) -> None:
        super().__init__()
        self.on_receive: Callable[[bytes], None] = ssh.data_received
        self.on_room: Callable[[], None] = lambda: None
        self._lower = lower
        # a lower one that must put something before it may do so in place
        self.lead: int = getattr(lower, "lead", 0)
        self._write_packet: Callable[[bytearray], None] = getattr(lower, "write_packet", lower.write)
        self._ssh = ssh
        self._room_wanted = False
        self._loop = asyncio.get_running_loop()
        self._waiting: list[bytes] = []
        self._waiting_size = 0
        self._closing = False

    def write(self, data: Any) -> None:
        if self._closing:
            return
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(bytes(data))
        self._waiting_size += len(data)

    def write_packet(self, packet: bytearray) -> None:
        """What is behind its first `lead` bytes leaves behind what waits, in this tick: for whom gathers by
        himself. It is not his any more."""
        if self._closing:
            return
        self._flush()
        if not self._lower.is_closing():
            self._write_packet(packet)
        self.tell_room()

    def room(self) -> int:
        """Bytes that may be written without queueing much; `on_room` follows when it is 0 or less."""
        room = ROOM - self.get_write_buffer_size()
        self._room_wanted = room <= 0
        return room

    def tell_room(self) -> None:
        if self._room_wanted:
            self._room_wanted = False
            self.on_room()

    def _flush(self) -> None:
        if not self._waiting:
            return
        waiting, self._waiting, self._waiting_size = self._waiting, [], 0
        if not self._lower.is_closing():
            self._lower.writelines(waiting)
        self.tell_room()

    def get_write_buffer_size(self) -> int:
        return self._waiting_size + self._lower.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self if name == _WIRE else self._lower.get_extra_info(name, default)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        """What was written still goes out."""
        if not self._closing:
            self._flush()
            self._closing = True
            self._lower.close()

    def abort(self) -> None:
        if not self._closing:
            self._closing = True
            self._waiting.clear()
            self._lower.abort()

    def lower_lost(self, reason: Exception | None) -> None:
        self._closing = True
        self._waiting.clear()
        self._ssh.connection_lost(reason)

    # asyncssh reads as fast as it gets; the mux's credit bounds what comes
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...


class SshWire(asyncio.Protocol):
    """The protocol of the lower transport (a socket's, or the WebSocket's): feeds one SSH connection."""

    def __init__(self, ssh: asyncio.Protocol) -> None:
        self._ssh = ssh
        self._batching: BatchingTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=ROOM // 2)
        self._batching = BatchingTransport(transport, self._ssh)
        self._ssh.connection_made(self._batching)

    def data_received(self, data: bytes) -> None:
        self._batching.on_receive(data)

    def connection_lost(self, reason: Exception | None) -> None:
        self._batching.lower_lost(reason)

    def resume_writing(self) -> None:
        self._batching.tell_room()


class _Channel(Protocol):
    def write(self, data: bytes) -> None: ...
    def get_extra_info(self, name: str, default: Any = None) -> Any: ...
    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...


class _MuxLike(Protocol):
    def feed(self, data: bytes | memoryview) -> None: ...
    def drained(self) -> None: ...
    def wire_lost(self, reason: Exception | None) -> None: ...


class ChannelWire:
    """An SSH session channel as the wire of a mux. asyncssh calls the session's half, the mux the wire's.

    Bytes that come before `carry` are kept.
    """

    new_cipher: Callable[[bytes], Cipher] | None = None
    """AESGCM, for packets of our own; without it all of them are asyncssh's."""

    _mux: _MuxLike | None = None
    _packets: DataPackets | None = None
    _early: list[bytes]

    def carry(self, mux: _MuxLike) -> None:
        """From now on bytes go to `mux`."""
        self._mux = mux
        self._transport.on_room = mux.drained
        for data in self._early:
            mux.feed(data)
        self._early.clear()
        if self.new_cipher is not None:
            self._packets = DataPackets.of(self._channel, self.new_cipher, mux.feed)
        if self._packets is not None:
            self._transport.on_receive = self._packets.received

    # --- the wire ------------------------------------------------------------------------------------

    def write(self, *pieces: bytes | memoryview) -> None:
        size = sum(map(len, pieces))
        if size > MAX_PACKET:
            data = b"".join(pieces)
            for start in range(0, size, MAX_PACKET):
                self.write(data[start : start + MAX_PACKET])
            return
        packet = None
        if self._packets is not None:
            packet = self._packets.seal(pieces, size, self._transport.lead)
        if packet is None:
            self._channel.write(b"".join(pieces))
        else:
            self._transport.write_packet(packet)

    def room(self) -> int:
        return self._transport.room()

    def close(self) -> None:
        """What was written still goes out."""
        self._transport.close()

    def abort(self) -> None:
        self._channel.get_extra_info("connection").abort()

    # --- the session -----------------------------------------------------------------------------------

    def connection_made(self, chan: Any) -> None:
        self._early = []
        self._channel: _Channel = chan
        self._transport: BatchingTransport = chan.get_extra_info("connection").get_extra_info(_WIRE)
        chan.set_write_buffer_limits(high=CHANNEL_WINDOW)

    def data_received(self, data: Any, datatype: object = None) -> None:
        if self._mux is None:
            self._early.append(data)
        else:
            self._mux.feed(data)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._mux is not None:
            self._mux.wire_lost(exc)
