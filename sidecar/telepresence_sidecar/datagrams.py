"""UDP ports of the workload: each client and port is a flow, to the laptop or to the restored original.

Datagrams are not held as connections are: while there is nobody for them they are lost, as UDP's may be.
Answers leave by the port and from the address that was called. A flow ends by being unused, or when there
are too many by being unused for longest.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

from .contract.frames import Kind, Opening
from .contract.mux import Mux
from .contract.stream import MuxStream
from .sockets import IP_PKTINFO, bind_datagrams, plain_address

IDLE_SECONDS = 180.0
"""A flow that nobody used for so long ends, as in the kernel's connection tracking (udp_timeout_stream)."""

MOST_FLOWS = 2048

_AT_ONCE = 64
"""Datagrams taken from one socket before others get their turn."""

_ROOM = 1 << 16
_IN_PKTINFO = struct.Struct("=i4s4s")  # interface, local address, destination: ip(7)
_IN6_PKTINFO = struct.Struct("=16si")  # destination, interface: ipv6(7)


class Caller(NamedTuple):
    """Who sent a datagram to which port, and to which of the pod's addresses."""

    client: tuple[Any, ...]  # as the socket has it
    port: int
    called: bytes
    """The control message that makes answers come from the address that was called."""


class _Way(Protocol):
    """Where the datagrams of one caller go."""

    used: float

    def send(self, datagram: bytes) -> None: ...
    def close(self) -> None: ...


class DatagramPorts:
    """`open_ports` before use, `close` after. Hears of the laptop by `client` and `hand_over`."""

    def __init__(self, idle_seconds: float = IDLE_SECONDS, most_flows: int = MOST_FLOWS) -> None:
        self._idle_seconds = idle_seconds
        self._most_flows = most_flows
        self._loop = asyncio.get_running_loop()
        self._sockets: list[socket.socket] = []
        self._flows: dict[Caller, _Way] = {}  # the longest unused first
        self._mux: Mux | None = None
        self._original = ""
        self._sweep: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._flows)

    def open_ports(self, ports: Iterable[int]) -> dict[int, str]:
        """Returns those that could not be had, and why."""
        unserved = {}
        for port in ports:
            try:
                self.serve(port, bind_datagrams(port))
            except OSError as error:
                unserved[port] = os.strerror(error.errno or errno.EIO)
        return unserved

    def serve(self, port: int, bound: socket.socket) -> None:
        """Takes over `bound`; what it receives counts as sent to `port`."""
        self._sockets.append(bound)
        self._loop.add_reader(bound, self._readable, bound, port)
        if self._sweep is None:
            self._sweep = self._loop.call_later(self._idle_seconds / 4, self._sweep_due)

    def close(self) -> None:
        self._end_flows()
        for bound in self._sockets:
            self._loop.remove_reader(bound)
            bound.close()
        if self._sweep is not None:
            self._sweep.cancel()

    def client(self, mux: Mux | None) -> None:
        """The laptop's tunnel, or None when it is lost, and its flows with it."""
        self._mux = mux

    def hand_over(self, addresses: Iterable[str]) -> None:
        """To the first of these from now on. What the laptop has yet to answer is lost."""
        self._original = next(iter(addresses), "")
        if self._original:
            self._end_flows()

    # --- inside ----------------------------------------------------------------------------------------

    def _readable(self, bound: socket.socket, port: int) -> None:
        for _ in range(_AT_ONCE):
            try:
                datagram, ancillary, _, sender = bound.recvmsg(_ROOM, 256)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:  # that of an earlier answer, for which nobody was there any more
                continue
            self._received(bound, Caller(sender, port, _called(ancillary)), datagram)

    def _received(self, bound: socket.socket, caller: Caller, datagram: bytes) -> None:
        way = self._flows.pop(caller, None) or self._begin(bound, caller)
        if way is None:
            return
        way.used = self._loop.time()
        self._flows[caller] = way
        way.send(datagram)

    def _begin(self, bound: socket.socket, caller: Caller) -> _Way | None:
        if len(self._flows) >= self._most_flows:
            self._flows.pop(next(iter(self._flows))).close()
        try:
            if self._original:
                return _ToOriginal(self, bound, caller, self._original)
            return None if self._mux is None else _ToLaptop(self, bound, caller, self._mux)
        except OSError:  # no more sockets: a datagram may be lost
            return None

    def answered(self, bound: socket.socket, caller: Caller, way: _Way, datagram: bytes) -> None:
        """By whom the datagrams of that caller go to."""
        if self._flows.get(caller) is way:
            way.used = self._loop.time()
            del self._flows[caller]
            self._flows[caller] = way
        level, kind = _PACKET_INFO[bound.family]
        control = [(level, kind, caller.called)] if caller.called else []
        try:
            bound.sendmsg([datagram], control, 0, caller.client)
        except OSError:  # full, or the client is gone: a datagram may be lost
            return

    def ended(self, caller: Caller, way: _Way) -> None:
        if self._flows.get(caller) is way:
            del self._flows[caller]

    def _end_flows(self) -> None:
        for way in tuple(self._flows.values()):
            way.close()
        self._flows.clear()

    def _sweep_due(self) -> None:
        now = self._loop.time()
        while self._flows:
            caller, way = next(iter(self._flows.items()))
            if now - way.used < self._idle_seconds:
                break
            del self._flows[caller]
            way.close()
        self._sweep = self._loop.call_later(self._idle_seconds / 4, self._sweep_due)


class _ToLaptop(asyncio.Protocol):
    def __init__(self, ports: DatagramPorts, bound: socket.socket, caller: Caller, mux: Mux) -> None:
        self.used = 0.0
        self._ports = ports
        self._bound = bound
        self._caller = caller
        address, port = caller.client[:2]
        opening = Opening(Kind.INBOUND_UDP, plain_address(address), caller.port, peer_port=port)
        self._stream: MuxStream = mux.open(opening)
        self._stream.set_protocol(self)

    def send(self, datagram: bytes) -> None:
        if not self._stream.is_closing():
            self._stream.write(datagram)

    def close(self) -> None:
        self._stream.abort()

    def data_received(self, data: bytes) -> None:
        self._ports.answered(self._bound, self._caller, self, data)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._ports.ended(self._caller, self)


class _ToOriginal:
    def __init__(self, ports: DatagramPorts, bound: socket.socket, caller: Caller, address: str) -> None:
        self.used = 0.0
        self._ports = ports
        self._bound = bound
        self._caller = caller
        self._loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.connect((address, caller.port))
        except OSError:
            self._socket.close()
            raise
        self._loop.add_reader(self._socket, self._readable)

    def send(self, datagram: bytes) -> None:
        try:
            self._socket.send(datagram)
        except OSError:  # full, or nobody is there yet: a datagram may be lost
            return

    def close(self) -> None:
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _readable(self) -> None:
        try:
            self._ports.answered(self._bound, self._caller, self, self._socket.recv(_ROOM))
        except OSError:  # as above
            return


_PACKET_INFO = {
    socket.AF_INET: (socket.IPPROTO_IP, IP_PKTINFO),
    socket.AF_INET6: (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO),
}


def _called(ancillary: Iterable[tuple[int, int, bytes]]) -> bytes:
    """What was received as packet information, as it is to be sent: from that address, by any interface."""
    for level, kind, data in ancillary:
        if (level, kind) == _PACKET_INFO[socket.AF_INET6]:
            return _IN6_PKTINFO.pack(_IN6_PKTINFO.unpack(data)[0], 0)
        if (level, kind) == _PACKET_INFO[socket.AF_INET]:
            return _IN_PKTINFO.pack(0, _IN_PKTINFO.unpack(data)[1], bytes(4))
    return b""
