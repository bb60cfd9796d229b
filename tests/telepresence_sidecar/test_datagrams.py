"""Datagrams to the workload's UDP ports, by real sockets; the laptop is a mux in memory."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from telepresence_sidecar.contract.frames import Kind
from telepresence_sidecar.contract.stream import MuxStream
from telepresence_sidecar.datagrams import DatagramPorts
from telepresence_sidecar.sockets import bind_datagrams
from tests.fakes.loop import at_end, in_loop, until
from tests.fakes.wire import MuxPair


class Pod:
    """UDP ports of a pod, and what the laptop hears of them."""

    def __init__(
        self, connected: bool = True, idle_seconds: float = 60.0, most: int = 100, number: int = 53
    ) -> None:
        self.ports = DatagramPorts(idle_seconds, most)
        at_end.append(self.ports.close)
        bound = bind_datagrams(0)
        self.port = bound.getsockname()[1]
        self.ports.serve(number, bound)
        self.pair = MuxPair()
        self.callers: list[Laptop] = []
        self.pair.on_open_at_laptop = lambda stream: self.callers.append(Laptop(stream))
        if connected:
            self.ports.client(self.pair.pod)


class Laptop(asyncio.Protocol):
    """The laptop's end of one caller's flow."""

    def __init__(self, stream: MuxStream) -> None:
        self.stream = stream
        self.heard: list[bytes] = []
        self.lost = False
        stream.accept()
        stream.set_protocol(self)

    def data_received(self, data: bytes) -> None:
        self.heard.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


@contextmanager
def client(address: str = "127.0.0.1", port: int = 0) -> Iterator[socket.socket]:
    """A client that hears only whom it has called."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as made:
        made.bind((address, 0))
        if port:
            made.connect((address, port))
        yield made


async def received(sock: socket.socket) -> bytes:
    return await asyncio.get_running_loop().sock_recv(sock, 1 << 16)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("size", [0, 1, 60000])
def test_a_datagram_reaches_the_laptop_with_its_sender_and_is_answered(address: str, size: int) -> None:
    @in_loop
    async def answered() -> None:
        pod = Pod()
        with client(address, pod.port) as one:
            one.send(bytes(size))
            await until(lambda: bool(pod.callers and pod.callers[0].heard))
            caller = pod.callers[0]
            opening = caller.stream.opening
            assert (opening.kind, opening.port) == (Kind.INBOUND_UDP, 53)
            assert (opening.host, opening.peer_port) == one.getsockname()[:2]
            assert caller.heard == [bytes(size)]
            caller.stream.write(bytes(size))
            assert await received(one) == bytes(size)

    answered()


@in_loop
async def test_an_answer_comes_from_the_address_that_was_called() -> None:
    """127.0.0.9 is an address of this host, too: by itself the answer would come from 127.0.0.1."""
    pod = Pod()
    with client() as one:
        one.connect(("127.0.0.9", pod.port))
        one.send(b"who?")
        await until(lambda: bool(pod.callers))
        pod.callers[0].stream.write(b"me")
        assert await received(one) == b"me"


@in_loop
async def test_each_client_is_a_flow_of_its_own() -> None:
    pod = Pod()
    with client("127.0.0.1", pod.port) as one, client("127.0.0.1", pod.port) as other:
        for _ in range(2):
            one.send(b"one")
            other.send(b"other")
        await until(lambda: [len(each.heard) for each in pod.callers] == [2, 2])
        assert {tuple(each.heard) for each in pod.callers} == {(b"one",) * 2, (b"other",) * 2}
        for each in pod.callers:
            each.stream.write(each.heard[0])
        assert (await received(one), await received(other)) == (b"one", b"other")


@in_loop
async def test_a_flow_that_nobody_uses_ends_and_the_next_datagram_begins_another() -> None:
    pod = Pod(idle_seconds=0.05)
    with client("127.0.0.1", pod.port) as one:
        one.send(b"a")
        await until(lambda: bool(pod.callers) and pod.callers[0].lost)
        assert len(pod.ports) == 0
        one.send(b"b")
        await until(lambda: len(pod.callers) == 2)


@in_loop
async def test_of_too_many_flows_the_one_unused_for_longest_ends() -> None:
    pod = Pod(most=2)
    with (
        client("127.0.0.1", pod.port) as first,
        client("127.0.0.1", pod.port) as second,
        client("127.0.0.1", pod.port) as third,
    ):
        for number, each in enumerate((first, second), start=1):
            each.send(b"")
            await until(lambda number=number: len(pod.callers) == number)  # type: ignore[misc]
        first.send(b"again")
        await until(lambda: len(pod.callers[0].heard) == 2)
        third.send(b"")
        await until(lambda: len(pod.callers) == 3)
        await until(lambda: pod.callers[1].lost)
        assert not pod.callers[0].lost
        assert len(pod.ports) == 2


@in_loop
async def test_without_a_laptop_datagrams_are_lost_and_the_next_ones_are_not() -> None:
    pod = Pod(connected=False)
    with client("127.0.0.1", pod.port) as one:
        one.send(b"lost")
        one.send(b"lost")
        await asyncio.sleep(0.01)
        assert len(pod.ports) == 0
        pod.ports.client(pod.pair.pod)
        one.send(b"heard")
        await until(lambda: bool(pod.callers))
        await until(lambda: pod.callers[0].heard == [b"heard"])


@in_loop
async def test_a_lost_laptop_ends_its_flows_and_the_next_one_has_the_next_datagram() -> None:
    pod = Pod()
    with client("127.0.0.1", pod.port) as one:
        one.send(b"a")
        await until(lambda: bool(pod.callers))
        pod.pair.pod.abort()
        pod.ports.client(None)
        await until(lambda: len(pod.ports) == 0)
        another = MuxPair()
        another.on_open_at_laptop = lambda stream: pod.callers.append(Laptop(stream))
        pod.ports.client(another.pod)
        one.send(b"b")
        await until(lambda: len(pod.callers) == 2)


@in_loop
async def test_after_the_hand_over_the_original_is_asked_and_its_answer_goes_back() -> None:
    with client("127.0.0.8") as original, client() as one:
        pod = Pod(number=original.getsockname()[1])
        one.connect(("127.0.0.1", pod.port))
        one.send(b"to the laptop")
        await until(lambda: bool(pod.callers))
        pod.ports.hand_over(["127.0.0.8"])
        await until(lambda: pod.callers[0].lost)
        one.send(b"to the original")
        asked, asker = await asyncio.get_running_loop().sock_recvfrom(original, 100)
        assert asked == b"to the original"
        original.sendto(b"as ever", asker)
        assert await received(one) == b"as ever"
        assert len(pod.callers) == 1


@in_loop
async def test_a_port_that_is_taken_is_reported() -> None:
    with bind_datagrams(0) as taken:
        port = taken.getsockname()[1]
        ports = DatagramPorts()
        assert ports.open_ports([port]) == {port: "Address already in use"}
        ports.close()
