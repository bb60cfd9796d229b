from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import pytest

from telepresence_py.forward.datagrams import (
    IP_RECVORIGDSTADDR,
    IPV6_RECVORIGDSTADDR,
    Datagrams,
    FlowLimits,
    NameServers,
    RawSocket,
    original_destination,
    serve_datagrams,
)
from telepresence_py.forward.directions import ALL_TO_POD, Directions
from telepresence_py.forward.packets import Endpoint, FlowKey, udp_packet, unreachable_packet
from telepresence_py.model.rules import Way
from telepresence_py.tunnel.interface import Tunnel
from tests.fakes.loop import in_loop, until

CHILD = Endpoint("10.244.1.7", 40000)
STATSD = Endpoint("10.96.0.30", 8125)
DNS = Endpoint("10.96.0.10", 53)


@dataclass
class Flow:
    host: str
    port: int
    on_datagram: Callable[[bytes], None]
    on_end: Callable[[int], None]
    sent: list[bytes] = field(default_factory=list)
    closed: bool = False

    def send(self, datagram: bytes) -> None:
        self.sent.append(datagram)

    def close(self) -> None:
        self.closed = True


class World:
    """A pod that remembers the flows out of it, a raw socket that remembers packets, a clock to be set."""

    def __init__(self) -> None:
        self.flows: list[Flow] = []
        self.packets: list[tuple[bytes, tuple[str, int]]] = []
        self.asked: list[bytes] = []
        self.answered = asyncio.Event()
        self.answered.set()
        self.now = 0.0
        self.connected = True
        self.raw_error: OSError | None = None
        self.directions = ALL_TO_POD

    def datagrams(
        self, host: str, port: int, on_datagram: Callable[[bytes], None], on_end: Callable[[int], None]
    ) -> Flow:
        self.flows.append(Flow(host, port, on_datagram, on_end))
        return self.flows[-1]

    def sendto(self, packet: bytes, address: tuple[str, int]) -> int:
        if self.raw_error:
            raise self.raw_error
        self.packets.append((packet, address))
        return len(packet)

    async def answer(self, query: bytes) -> bytes | None:
        self.asked.append(query)
        await self.answered.wait()
        return None if query == b"nonsense" else b"answer to " + query

    def tunnel(self) -> Tunnel | None:
        return cast(Tunnel, self) if self.connected else None

    @asynccontextmanager
    async def served(self, *sockets: socket.socket, most: int = 100) -> AsyncIterator[Datagrams]:
        raw: dict[int, RawSocket] = {socket.AF_INET: self, socket.AF_INET6: self}
        names = NameServers(frozenset({DNS.address, "fd00:0:0::a", "not-an-address"}), self.answer)
        limits = FlowLimits(60, most, most, lambda: self.now)
        async with serve_datagrams(sockets, raw, self.tunnel, names, limits, self.directions) as service:
            yield service


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_captured_datagram_leaves_for_its_destination_and_the_answer_comes_from_there(
    family: int, host: str
) -> None:
    @in_loop
    async def answered() -> None:
        world = World()
        with (
            socket.socket(family, socket.SOCK_DGRAM) as capture,
            socket.socket(family, socket.SOCK_DGRAM) as child,
        ):
            capture.bind((host, 0))
            child.bind((host, 0))
            destination = Endpoint(*capture.getsockname()[:2])
            me = Endpoint(*child.getsockname()[:2])
            async with world.served(capture):
                child.sendto(b"ping", destination)
                await until(lambda: bool(world.flows))
                (flow,) = world.flows
                assert (flow.host, flow.port, flow.sent) == (*destination, [b"ping"])
                flow.on_datagram(b"pong")
                assert world.packets == [(udp_packet(destination, me, b"pong"), (me.address, 0))]

    answered()


@in_loop
async def test_a_socket_and_a_destination_are_one_flow() -> None:
    world = World()
    async with world.served() as service:
        service.from_child(FlowKey(CHILD, STATSD), b"1")
        service.from_child(FlowKey(CHILD, STATSD), b"2")
        service.from_child(FlowKey(CHILD._replace(port=40001), STATSD), b"3")
        service.from_child(FlowKey(CHILD, STATSD._replace(port=8126)), b"4")
    assert [flow.sent for flow in world.flows] == [[b"1", b"2"], [b"3"], [b"4"]]
    assert all(flow.closed for flow in world.flows)


@in_loop
async def test_a_flow_ends_when_neither_side_used_it_for_a_minute() -> None:
    world = World()
    async with world.served() as service:
        service.from_child(FlowKey(CHILD, STATSD), b"1")
        world.now = 50
        world.flows[0].on_datagram(b"answer")
        world.now = 109
        service.expire()
        assert not world.flows[0].closed
        world.now = 110
        service.expire()
        assert world.flows[0].closed
        service.from_child(FlowKey(CHILD, STATSD), b"2")
        assert world.flows[1].sent == [b"2"]


@in_loop
async def test_flows_are_bounded_in_number() -> None:
    world = World()
    async with world.served(most=3) as service:
        for port in range(40000, 40010):
            service.from_child(FlowKey(CHILD._replace(port=port), STATSD), b"x")
        assert len(service) == 3
        assert [flow.closed for flow in world.flows] == [True] * 7 + [False] * 3


@in_loop
async def test_a_flow_that_the_pod_ended_begins_anew_with_the_next_datagram() -> None:
    world = World()
    async with world.served() as service:
        service.from_child(FlowKey(CHILD, STATSD), b"1")
        world.flows[0].on_end(errno.ECONNREFUSED)
        assert len(service) == 0
        service.from_child(FlowKey(CHILD, STATSD), b"2")
        assert [flow.sent for flow in world.flows] == [[b"1"], [b"2"]]


@in_loop
async def test_only_what_refuses_in_the_pod_refuses_for_the_child() -> None:
    world = World()
    async with world.served() as service:
        for error in (errno.ECONNREFUSED, errno.ETIMEDOUT, errno.ECONNRESET):
            service.from_child(FlowKey(CHILD, STATSD), b"1")
            world.flows[-1].on_end(error)
    assert world.packets == [(unreachable_packet(CHILD, STATSD), (CHILD.address, 0))]


@in_loop
async def test_without_a_living_tunnel_datagrams_are_lost_and_nothing_else() -> None:
    world = World()
    world.connected = False
    async with world.served() as service:
        service.from_child(FlowKey(CHILD, STATSD), b"1")
        world.connected = True
        service.from_child(FlowKey(CHILD, STATSD), b"2")
    assert [flow.sent for flow in world.flows] == [[b"2"]]


@in_loop
async def test_queries_to_the_pods_name_server_are_answered_as_from_it() -> None:
    world = World()
    async with world.served() as service:
        service.from_child(FlowKey(CHILD, DNS), b"query")
        await until(lambda: bool(world.packets))
        assert world.packets == [(udp_packet(DNS, CHILD, b"answer to query"), (CHILD.address, 0))]
        assert not world.flows


@in_loop
async def test_a_name_server_is_recognised_however_its_address_was_written() -> None:
    world = World()
    async with world.served() as service:
        service.from_child(FlowKey(Endpoint("fd00::7", 40000), Endpoint("fd00::a", 53)), b"query")
        await until(lambda: bool(world.packets))


@in_loop
async def test_other_ports_of_a_name_server_and_other_servers_are_flows() -> None:
    world = World()
    async with world.served() as service:
        service.from_child(FlowKey(CHILD, DNS._replace(port=5353)), b"1")
        service.from_child(FlowKey(CHILD, Endpoint("8.8.8.8", 53)), b"2")
        assert [(flow.host, flow.port) for flow in world.flows] == [("10.96.0.10", 5353), ("8.8.8.8", 53)]
        assert not world.asked


@in_loop
async def test_what_is_no_query_gets_no_answer() -> None:
    world = World()
    async with world.served() as service:
        service.from_child(FlowKey(CHILD, DNS), b"nonsense")
        service.from_child(FlowKey(CHILD, DNS), b"query")
        await until(lambda: bool(world.packets))
        assert len(world.packets) == 1


@in_loop
async def test_queries_under_way_are_bounded_in_number() -> None:
    world = World()
    world.answered.clear()
    async with world.served(most=3) as service:
        for _ in range(10):
            service.from_child(FlowKey(CHILD, DNS), b"query")
        await until(lambda: len(world.asked) == 3)
        world.answered.set()
        await until(lambda: len(world.packets) == 3)
        service.from_child(FlowKey(CHILD, DNS), b"query")
        await until(lambda: len(world.packets) == 4)


@in_loop
async def test_an_answer_that_cannot_be_delivered_is_lost_and_nothing_else() -> None:
    world = World()
    async with world.served() as service:
        service.from_child(FlowKey(CHILD, STATSD), b"1")
        world.raw_error = OSError(errno.ENOBUFS, "ENOBUFS")
        world.flows[0].on_datagram(b"lost")
        world.raw_error = None
        world.flows[0].on_datagram(b"x" * 70_000)
        world.flows[0].on_datagram(b"heard")
        assert [packet[28:] for packet, _ in world.packets] == [b"heard"]


@in_loop
async def test_what_is_never_to_be_reached_is_told_to_refuse_each_time() -> None:
    world = World()
    world.directions = Directions(lambda to: Way.NEVER if to == STATSD else Way.TUNNEL)
    async with world.served() as service:
        for _ in range(2):
            service.from_child(FlowKey(CHILD, STATSD), b"1")
        service.from_child(FlowKey(CHILD, STATSD._replace(port=1)), b"2")
        assert len(service) == 1
    assert world.packets == [(unreachable_packet(CHILD, STATSD), (CHILD.address, 0))] * 2
    assert [flow.sent for flow in world.flows] == [[b"2"]]


@in_loop
async def test_what_a_rule_keeps_is_a_flow_of_the_laptop() -> None:
    world = World()
    world.directions = Directions(lambda _: Way.LAPTOP)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)
        destination = Endpoint(*server.getsockname())
        async with world.served() as service:
            for datagram in (b"1", b"2"):
                service.from_child(FlowKey(CHILD, destination), datagram)
            (_, peer), (_, again) = [server.recvfrom(100) for _ in range(2)]
            assert peer == again
            server.sendto(b"answer", peer)
            await until(lambda: bool(world.packets))
            assert world.packets == [(udp_packet(destination, CHILD, b"answer"), (CHILD.address, 0))]
            world.now = 61
            service.expire()
            assert len(service) == 0
    assert not world.flows


@in_loop
async def test_a_kept_destination_where_nobody_is_refuses_and_can_be_tried_again() -> None:
    world = World()
    world.directions = Directions(lambda _: Way.LAPTOP)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        destination = Endpoint(*unused.getsockname())
    async with world.served() as service:
        for count in (1, 2):
            service.from_child(FlowKey(CHILD, destination), b"1")
            await until(lambda count=count: len(world.packets) == count)  # type: ignore[misc]
            assert len(service) == 0
    assert world.packets[0] == (unreachable_packet(CHILD, destination), (CHILD.address, 0))


@in_loop
async def test_a_destination_that_the_laptop_cannot_send_to_loses_datagrams_and_nothing_else() -> None:
    world = World()
    nowhere = Endpoint("255.255.255.255", 9)
    world.directions = Directions(lambda to: Way.LAPTOP if to == nowhere else Way.TUNNEL)
    async with world.served() as service:
        service.from_child(FlowKey(CHILD, nowhere), b"1")
        service.from_child(FlowKey(CHILD, STATSD), b"2")
    assert [flow.sent for flow in world.flows] == [[b"2"]]


@in_loop
async def test_queries_are_answered_whatever_the_directions_say() -> None:
    world = World()
    world.directions = Directions(lambda _: Way.NEVER)
    async with world.served() as service:
        service.from_child(FlowKey(CHILD, DNS), b"query")
        await until(lambda: bool(world.packets))
    assert world.packets == [(udp_packet(DNS, CHILD, b"answer to query"), (CHILD.address, 0))]


def test_the_destination_is_found_among_control_messages() -> None:
    v4 = struct.pack("=H", socket.AF_INET) + struct.pack(">H", 53) + socket.inet_aton("10.96.0.10") + bytes(8)
    v6 = (
        struct.pack("=H", socket.AF_INET6)
        + struct.pack(">HI", 53, 0)
        + socket.inet_pton(socket.AF_INET6, "fd00::a")
    )
    other = (socket.SOL_SOCKET, socket.SCM_RIGHTS, b"")
    found4 = original_destination([other, (socket.IPPROTO_IP, IP_RECVORIGDSTADDR, v4)])
    found6 = original_destination([other, (socket.IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, v6 + bytes(4))])
    assert found4 == Endpoint("10.96.0.10", 53)
    assert found6 == Endpoint("fd00::a", 53)
    assert original_destination([other]) is None
