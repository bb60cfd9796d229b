"""The child's UDP: a child's socket and a destination are a flow out of the pod; answers go back as packets.

Captured datagrams arrive on one socket per family with their destination beside them. The answer has to
come from that destination, and no socket may be bound to it (the child could hold the port): so a raw socket
of the child's world sends whole packets. Queries to the pod's name servers are no flow: they are answered;
what goes to a client of the child's is its answer (see callers). By rules, a flow leaves the laptop instead,
or is refused.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from telepresence_py.forward.callers import Callers
from telepresence_py.forward.choosing import ChooseTunnel
from telepresence_py.forward.directions import ALL_TO_POD, Directions
from telepresence_py.forward.flows import IdleTable
from telepresence_py.forward.laptop_flow import open_laptop_flow
from telepresence_py.forward.packets import (
    Endpoint,
    FlowKey,
    canonical,
    endpoint_of,
    udp_packet,
    unreachable_packet,
)
from telepresence_py.forward.targets import Listening
from telepresence_py.model.rules import Way
from telepresence_py.tunnel.interface import DatagramFlow

log = logging.getLogger(__name__)

# ip(7) and linux/in6.h; Python names neither
IP_RECVORIGDSTADDR = 20
IPV6_RECVORIGDSTADDR = 74

DNS_PORT = 53
AT_ONCE = 64
"""Datagrams taken from one socket before others get their turn."""

Answer = Callable[[bytes], Awaitable[bytes | None]]
"""A coroutine function of asyncio: a DNS query to its answer, or None for none."""


class RawSocket(Protocol):
    """A raw socket (IPPROTO_RAW) of the child's world: what is sent is a whole IP packet."""

    def sendto(self, packet: bytes, address: tuple[str, int], /) -> int: ...


@dataclass(frozen=True)
class NameServers:
    """The pod's name servers: datagrams to port 53 of these addresses are answered by `answer`."""

    addresses: frozenset[str]
    answer: Answer


@dataclass(frozen=True)
class FlowLimits:
    """Beyond `most_flows` the one unused for longest ends; beyond `most_queries` a query is dropped, as the
    asker will ask again."""

    idle_seconds: float = 60.0
    most_flows: int = 4096
    most_queries: int = 1024
    clock: Callable[[], float] = time.monotonic


@asynccontextmanager
async def serve_datagrams(
    sockets: Iterable[socket.socket],
    raw_sockets: Mapping[int, RawSocket],
    choose_tunnel: ChooseTunnel,
    name_servers: NameServers,
    limits: FlowLimits | None = None,
    directions: Directions = ALL_TO_POD,
) -> AsyncIterator[Datagrams]:
    """Serves until the block ends, which ends every flow. Yields the service, for looking into.

    `sockets` receive the child's datagrams; `raw_sockets` are by address family. All stay open and the
    caller's. Works within an asyncio loop, and under trio as its guest; never waits.
    """
    service = Datagrams(raw_sockets, choose_tunnel, name_servers, limits or FlowLimits(), directions)
    loop = asyncio.get_running_loop()
    readers = tuple(sockets)
    for reader in readers:
        reader.setblocking(False)
        _ask_for_destinations(reader)
        loop.add_reader(reader, service.readable, reader)
    try:
        yield service
    finally:
        for reader in readers:
            loop.remove_reader(reader)
        service.close()


class Datagrams:
    """The flows and queries under way. Made and closed by `serve_datagrams`."""

    def __init__(
        self,
        raw_sockets: Mapping[int, RawSocket],
        choose_tunnel: ChooseTunnel,
        name_servers: NameServers,
        limits: FlowLimits,
        directions: Directions,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._raw_sockets = raw_sockets
        self._choose_tunnel = choose_tunnel
        self._servers = frozenset(canonical(address) for address in name_servers.addresses)
        self._answer = name_servers.answer
        self._limits = limits
        self._directions = directions
        self._flows: IdleTable[FlowKey, DatagramFlow] = IdleTable(limits.most_flows, limits.idle_seconds)
        self._callers: Callers | None = None
        self._queries: set[asyncio.Task[None]] = set()
        self._sweep = self._loop.call_later(limits.idle_seconds / 4, self._sweep_due)

    def __len__(self) -> int:
        return len(self._flows)

    def serve_callers(
        self,
        child_ports: Mapping[int, int],
        pod_addresses: tuple[str, ...],
        bound: Callable[[], Listening],
    ) -> Callers:
        """Datagrams to the pod's UDP ports, `child_ports` by the pod's, reach the child from now on; `bound`
        reads where it takes any. The tunnels of the pods are to be attached; they end with this service."""
        self._callers = Callers(child_ports, pod_addresses, bound, self._send_udp, self._limits.clock)
        return self._callers

    def readable(self, reader: socket.socket) -> None:
        for _ in range(AT_ONCE):
            try:
                datagram, ancillary, _, source = reader.recvmsg(65536, 256)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:  # an error of an earlier datagram; the next call is for the next one
                log.debug("a captured datagram could not be received: %s", error)
                continue
            destination = original_destination(ancillary)
            if destination is not None:
                self.from_child(FlowKey(endpoint_of(source), destination), datagram)

    def from_child(self, key: FlowKey, datagram: bytes) -> None:
        if self._callers is not None and self._callers.answer(key, datagram):
            return
        if key.destination.port == DNS_PORT and key.destination.address in self._servers:
            if len(self._queries) < self._limits.most_queries:
                task = self._loop.create_task(self._resolve(key, datagram))
                self._queries.add(task)
                task.add_done_callback(self._queries.discard)
            return
        now = self._limits.clock()
        flow = self._flows.use(key, now)
        if flow is None:
            flow = self._begin(key, now)
        if flow is not None:
            flow.send(datagram)

    def expire(self) -> None:
        """Ends the flows that are unused for too long by now."""
        for flow in self._flows.expire(self._limits.clock()):
            flow.close()
        if self._callers is not None:
            self._callers.expire()

    def close(self) -> None:
        self._sweep.cancel()
        for query in tuple(self._queries):
            query.cancel()
        for flow in self._flows.clear():
            flow.close()
        if self._callers is not None:
            self._callers.close()

    def _begin(self, key: FlowKey, now: float) -> DatagramFlow | None:
        match self._directions.way(key.destination):
            case Way.NEVER:
                self._tell_refused(key)
                return None
            case Way.LAPTOP:
                flow = self._open_from_laptop(key)
            case _:
                flow = self._open_from_pod(key)
        if flow is not None:
            for gone in self._flows.add(key, flow, now):
                gone.close()
        return flow

    def _open_from_pod(self, key: FlowKey) -> DatagramFlow | None:
        tunnel = self._choose_tunnel()
        if tunnel is None:
            return None
        return tunnel.datagrams(
            *key.destination,
            on_datagram=lambda datagram: self._answered(key, datagram),
            on_end=lambda error: self._ended_in_pod(key, error),
        )

    def _open_from_laptop(self, key: FlowKey) -> DatagramFlow | None:
        def refused() -> None:
            self._ended(key)
            self._tell_refused(key)

        try:
            return open_laptop_flow(
                key.destination,
                on_datagram=lambda datagram: self._answered(key, datagram),
                on_refused=refused,
            )
        except OSError as error:  # no such network, or no more sockets: a datagram may be lost
            log.debug("the laptop cannot send to %s port %s: %s", *key.destination, error)
            return None

    def _answered(self, key: FlowKey, datagram: bytes) -> None:
        self._flows.use(key, self._limits.clock())
        self._send_udp(key.destination, key.child, datagram)

    def _ended_in_pod(self, key: FlowKey, error: int) -> None:
        self._ended(key)
        if error == errno.ECONNREFUSED:  # the pod was told that nobody is there, as the child shall be
            self._tell_refused(key)

    def _ended(self, key: FlowKey) -> None:
        self._flows.remove(key)

    async def _resolve(self, key: FlowKey, query: bytes) -> None:
        answer = await self._answer(query)
        if answer is not None:
            self._send_udp(key.destination, key.child, answer)

    def _send_udp(self, source: Endpoint, child: Endpoint, datagram: bytes) -> None:
        try:
            self._send_raw(child, udp_packet(source, child, datagram))
        except (OSError, ValueError) as error:  # a datagram may be lost
            log.debug("a datagram of %s port %s is lost: %s", *source, error)

    def _tell_refused(self, key: FlowKey) -> None:
        try:
            self._send_raw(key.child, unreachable_packet(key.child, key.destination))
        except (OSError, ValueError) as error:  # so may be this
            log.debug("that %s port %s refuses cannot be told: %s", *key.destination, error)

    def _send_raw(self, child: Endpoint, packet: bytes) -> None:
        raw = self._raw_sockets.get(socket.AF_INET6 if ":" in child.address else socket.AF_INET)
        if raw is not None:
            raw.sendto(packet, (child.address, 0))

    def _sweep_due(self) -> None:
        self.expire()
        self._sweep = self._loop.call_later(self._limits.idle_seconds / 4, self._sweep_due)


def original_destination(ancillary: Iterable[tuple[int, int, bytes]]) -> Endpoint | None:
    """Where the child sent the datagram to: a sockaddr_in or sockaddr_in6 among the control messages."""
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IP and kind == IP_RECVORIGDSTADDR:
            return Endpoint(socket.inet_ntop(socket.AF_INET, data[4:8]), _port(data))
        if level == socket.IPPROTO_IPV6 and kind == IPV6_RECVORIGDSTADDR:
            return endpoint_of((socket.inet_ntop(socket.AF_INET6, data[8:24]), _port(data)))
    return None


def _port(sockaddr: bytes) -> int:
    return int(struct.unpack_from(">H", sockaddr, 2)[0])


def _ask_for_destinations(reader: socket.socket) -> None:
    if reader.family == socket.AF_INET6:
        reader.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, 1)
    else:
        reader.setsockopt(socket.IPPROTO_IP, IP_RECVORIGDSTADDR, 1)
