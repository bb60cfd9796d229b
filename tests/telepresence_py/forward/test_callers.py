"""The child's UDP clients in the cluster: real namespaces, the pod is a mux in memory."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
import trio

from telepresence_py.forward.callers import IDLE_SECONDS, MOST_CALLERS, OF_POD_V4, OF_POD_V6, Callers
from telepresence_py.forward.datagrams import NameServers, serve_datagrams
from telepresence_py.forward.packets import Endpoint, FlowKey
from telepresence_py.forward.targets import Listening
from telepresence_py.isolation.inside import Inside
from telepresence_py.tunnel.bridge import run
from telepresence_py.tunnel.interface import OnConnection, Tunnel
from telepresence_sidecar.contract.frames import Kind, Opening
from telepresence_sidecar.contract.stream import MuxStream
from tests.fakes.loop import in_loop
from tests.fakes.loop import until as until_in_loop
from tests.fakes.wire import MuxPair
from tests.telepresence_py.forward.test_inbound import until
from tests.telepresence_py.isolation.joined import POD_V4, POD_V6, entered, joined, run_as, start_joined, view

CLIENT_V4, CLIENT_V6 = "203.0.113.9", "2001:db8::9"
PORT = 5353


class Pod:
    """A pod that plays its clients."""

    def __init__(self) -> None:
        self.pair = MuxPair()
        self.pair.on_open_at_laptop = self._opened
        self.on_flow: OnConnection | None = None

    def listen_datagrams(self, on_flow: OnConnection) -> None:
        self.on_flow = on_flow

    def _opened(self, stream: MuxStream) -> None:
        assert self.on_flow is not None
        self.on_flow(stream, stream.opening.port, (stream.opening.host, stream.opening.peer_port))

    def call(self, client: str, port: int, datagram: bytes, pod_port: int = 53) -> Client:
        made = Client(self.pair.pod.open(Opening(Kind.INBOUND_UDP, client, pod_port, port)))
        made.stream.write(datagram)
        return made


class Client(asyncio.Protocol):
    def __init__(self, stream: MuxStream) -> None:
        self.stream = stream
        self.heard: list[bytes] = []
        self.lost = False
        stream.set_protocol(self)

    def data_received(self, data: bytes) -> None:
        self.heard.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


def tell_senders(address: str) -> None:
    """A child that tells whoever sends it something who that is, and how much it was."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((address, PORT))
        while True:
            datagram, sender = sock.recvfrom(1 << 16)
            told = json.dumps([*sender[:2], len(datagram)]).encode()
            sock.sendto(told.ljust(len(datagram)), sender)


def in_child_bound_to(address: str, body: Callable[[Inside, Pod], Awaitable[Any]]) -> Any:
    async def nothing(_query: bytes) -> bytes | None:
        return None

    async def main() -> Any:
        with trio.fail_after(20):
            async with entered(view()) as inside:
                pod = Pod()
                names = NameServers(frozenset(), nothing)
                async with serve_datagrams(
                    inside.udp_sockets, inside.raw_sockets, lambda: None, names
                ) as service:
                    callers = service.serve_callers({53: PORT}, (POD_V4, POD_V6), inside.bound_ports)
                    callers.attach(cast(Tunnel, pod))
                    start_joined(inside, lambda: tell_senders(address))
                    await until(lambda: PORT in inside.bound_ports())
                    return await body(inside, pod)

    return run_as("plain", lambda: run(main))


async def told(client: Client) -> Any:
    await until(lambda: bool(client.heard))
    return json.loads(client.heard[0])


@pytest.mark.parametrize(
    ("bound", "client"),
    [
        ("0.0.0.0", CLIENT_V4),
        ("::", CLIENT_V6),
        (POD_V4, CLIENT_V4),
        (POD_V6, CLIENT_V6),
        ("127.0.0.1", CLIENT_V4),
        ("::1", CLIENT_V6),
    ],
)
@pytest.mark.parametrize("size", [100, 60000])
def test_the_child_sees_who_sent_a_datagram_and_its_answer_goes_back(
    bound: str, client: str, size: int
) -> None:
    async def ask(_inside: Inside, pod: Pod) -> Any:
        both = [pod.call(client, port, bytes(size)) for port in (40000, 40001)]
        return [(await told(each), len(each.heard[0])) for each in both]

    assert in_child_bound_to(bound, ask) == [
        ([client, 40000, size], size),
        ([client, 40001, size], size),
    ]


def test_a_child_on_every_address_has_clients_of_both_families() -> None:
    async def ask(_inside: Inside, pod: Pod) -> Any:
        return [await told(pod.call(each, 40000, bytes(100))) for each in (CLIENT_V4, CLIENT_V6)]

    assert in_child_bound_to("::", ask) == [["::ffff:" + CLIENT_V4, 40000, 100], [CLIENT_V6, 40000, 100]]


@pytest.mark.parametrize(
    ("client", "shown"),
    [(POD_V4, OF_POD_V4), ("127.0.0.1", OF_POD_V4), (POD_V6, OF_POD_V6), ("::1", OF_POD_V6)],
)
def test_a_container_of_the_pod_is_answered_though_its_address_is_the_childs_own(
    client: str, shown: str
) -> None:
    async def ask(_inside: Inside, pod: Pod) -> Any:
        return await told(pod.call(client, 40000, bytes(100)))

    address, port, _ = in_child_bound_to("::", ask)
    assert (address.removeprefix("::ffff:"), port) == (shown, 40000)


def test_what_the_child_sends_elsewhere_from_that_port_is_no_answer() -> None:
    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"x", (CLIENT_V4, 40000))

    async def ask(inside: Inside, pod: Pod) -> Any:
        client = pod.call(CLIENT_V4, 40000, bytes(100))
        await told(client)
        await joined(inside, send)
        other = pod.call(CLIENT_V4, 40001, bytes(100))
        await told(other)
        return len(client.heard)

    assert in_child_bound_to("0.0.0.0", ask) == 1


# --- without a kernel ---------------------------------------------------------------------------------


class World:
    """Callers by themselves; what reached the child is remembered."""

    def __init__(self, bound: Listening | None = None) -> None:
        self.bound = {PORT: frozenset({"0.0.0.0"})} if bound is None else dict(bound)
        self.reached: list[tuple[Endpoint, Endpoint, bytes]] = []
        self.now = 0.0
        self.pod = Pod()
        self.callers = Callers({53: PORT}, (POD_V4,), lambda: self.bound, self._send, lambda: self.now)
        self.callers.attach(cast(Tunnel, self.pod))

    def _send(self, source: Endpoint, child: Endpoint, datagram: bytes) -> None:
        self.reached.append((source, child, datagram))

    async def reach(self, count: int) -> None:
        await until_in_loop(lambda: len(self.reached) == count)


KEY = FlowKey(Endpoint(POD_V4, PORT), Endpoint(CLIENT_V4, 40000))


@in_loop
async def test_while_nobody_is_bound_datagrams_are_lost_and_later_ones_arrive() -> None:
    world = World({})
    client = world.pod.call(CLIENT_V4, 40000, b"lost")
    await until_in_loop(client.stream.opened.done)
    await asyncio.sleep(0)
    assert not world.reached
    world.bound[PORT] = frozenset({"0.0.0.0"})
    world.now = 1.0
    client.stream.write(b"arrives")
    await world.reach(1)
    assert world.reached == [(KEY.destination, KEY.child, b"arrives")]


@in_loop
async def test_a_client_of_a_family_in_which_the_child_is_not_bound_has_no_answer_as_in_the_pod() -> None:
    world = World()
    world.pod.call(CLIENT_V6, 40000, b"lost")
    world.pod.call(CLIENT_V4, 40000, b"arrives")
    await world.reach(1)
    assert world.reached[0][2] == b"arrives"


@in_loop
async def test_a_port_that_is_not_the_childs_is_refused() -> None:
    world = World()
    assert await world.pod.call(CLIENT_V4, 1, b"", pod_port=54).stream.opened


@in_loop
async def test_a_client_that_is_silent_for_too_long_is_forgotten_and_the_pod_told() -> None:
    world = World()
    client = world.pod.call(CLIENT_V4, 40000, b"a")
    await world.reach(1)
    world.now = IDLE_SECONDS - 1
    assert world.callers.answer(KEY, b"still known")
    world.now = 2 * IDLE_SECONDS
    world.callers.expire()
    assert not world.callers.answer(KEY, b"unknown")
    await until_in_loop(lambda: client.lost)
    assert client.heard == [b"still known"]


@in_loop
async def test_a_client_of_two_pods_is_answered_through_the_one_that_it_called_last() -> None:
    world = World()
    first, second = (world.pod.call(CLIENT_V4, 40000, b"a") for _ in range(2))
    await world.reach(2)
    assert world.callers.answer(KEY, b"to the second")
    await until_in_loop(lambda: bool(second.heard))
    first.stream.write(b"b")
    await world.reach(3)
    assert world.callers.answer(KEY, b"to the first")
    await until_in_loop(lambda: bool(first.heard))
    assert (first.heard, second.heard) == ([b"to the first"], [b"to the second"])
    second.stream.abort()
    await asyncio.sleep(0.01)
    assert len(world.callers) == 1


@in_loop
async def test_a_child_that_starts_again_at_another_address_is_reached_there() -> None:
    world = World()
    client = world.pod.call(CLIENT_V4, 40000, b"a")
    await world.reach(1)
    world.bound[PORT] = frozenset({"127.0.0.1"})
    world.now = 1.0
    client.stream.write(b"b")
    await world.reach(2)
    assert world.reached[1][1] == Endpoint("127.0.0.1", PORT)
    assert len(world.callers) == 1


@in_loop
async def test_of_too_many_clients_the_one_unused_for_longest_is_forgotten() -> None:
    world = World()
    clients = [world.pod.call(CLIENT_V4, port, b"") for port in range(1, MOST_CALLERS + 2)]
    await world.reach(len(clients))
    await until_in_loop(lambda: clients[0].lost)
    assert len(world.callers) == MOST_CALLERS


@in_loop
async def test_the_end_tells_the_pod_and_takes_no_more() -> None:
    world = World()
    client = world.pod.call(CLIENT_V4, 40000, b"a")
    await world.reach(1)
    world.callers.close()
    await until_in_loop(lambda: client.lost)
    assert await world.pod.call(CLIENT_V4, 40001, b"").stream.opened
