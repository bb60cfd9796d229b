"""Connections that the kernel holds until it is told what becomes of each; real namespaces."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import trio

from telepresence_py.isolation import network, syn_log, syn_queue
from telepresence_py.isolation.inside import Inside
from telepresence_py.isolation.syn_queue import QueueRefused, SynQueue
from telepresence_py.model.world import HeldSyn
from tests.telepresence_py.isolation.joined import (
    POD_V4,
    POD_V6,
    answer_of,
    each_user,
    entered,
    joined,
    run_trio_as,
    start_joined,
    view,
)
from tests.telepresence_py.isolation.relay import tell_destinations

FAR_V4, FAR_V6 = "10.96.0.10", "fd00:10:96::a"
HELPER_PORT = 9090

Judge = Callable[[SynQueue, HeldSyn], None]

each_way = pytest.mark.usefixtures("way")


@pytest.fixture(params=["queue", "log"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the kernel's queue, and as though it had none, by its log."""
    if request.param == "log":
        monkeypatch.setattr(network, "open_queue", there_is_no_queue)


def there_is_no_queue(_captures: object) -> Any:
    raise QueueRefused("there is no queue")


def there_is_no_log(_captures: object) -> Any:
    raise QueueRefused("there is no log")


def connect(address: str, port: int = 5432) -> str:
    """The name of connect()'s errno, or what the connection is told."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as child:
        # the kernel's own deadlines: with Python's it would be poll() that waits, not connect()
        for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            child.setsockopt(socket.SOL_SOCKET, option, struct.pack("@ll", 8, 0))
        if error := child.connect_ex((address, port)):
            return errno.errorcode[error]
        return child.recv(1000).decode()


def connect_later(address: str, port: int = 5432) -> str:
    """The same of a connection that does not wait: EINPROGRESS first, and the truth from poll()."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as child:
        assert child.connect_ex((address, port)) == errno.EINPROGRESS
        poll = select.poll()
        poll.register(child, select.POLLOUT)
        while poll.poll(8000):
            if error := child.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                return errno.errorcode[error]
            with suppress(OSError):
                child.getpeername()
                return "connected"
            # Linux queues an ICMP error (tcp_v4_err), which wakes us, a moment before it is the socket's
        return "nothing"


def held_inside(
    user: str, judge: Judge, body: Callable[[Inside], Awaitable[Any]], **shown: Any
) -> tuple[Any, list[HeldSyn]]:
    """What `body` returns beside a relay that tells destinations, and the packets that `judge` judged."""
    seen: list[HeldSyn] = []

    async def judging(queue: SynQueue) -> None:
        while True:
            await trio.lowlevel.wait_readable(queue.descriptors[0])
            for syn in queue.receive()[0]:
                seen.append(syn)
                judge(queue, syn)

    async def main() -> Any:
        async with entered(view(held=True, **shown)) as inside, trio.open_nursery() as nursery:
            assert inside.syn_queue is not None
            nursery.start_soon(judging, inside.syn_queue)
            await nursery.start(tell_destinations, inside)
            result = await body(inside)
            nursery.cancel_scope.cancel()
        return result, seen

    result: tuple[Any, list[HeldSyn]] = run_trio_as(user, main)
    return result


def refuse(error: int) -> Judge:
    return lambda queue, syn: queue.refuse(syn, error)


def let_go(queue: SynQueue, syn: HeldSyn) -> None:
    queue.let_go(syn)


@each_way
@each_user
@pytest.mark.parametrize(("address", "own"), [(FAR_V4, POD_V4), (FAR_V6, POD_V6)])
def test_a_connection_that_is_let_go_is_accepted_where_it_was_captured(
    user: str, address: str, own: str
) -> None:
    told, seen = held_inside(user, let_go, lambda inside: joined(inside, lambda: connect(address)))
    assert told == f"captured {address} 5432 {own}"
    assert {(syn.child[0], syn.destination) for syn in seen} == {(own, (address, 5432))}


@each_way
@each_user
@pytest.mark.parametrize("error", [errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH])
def test_a_refusal_is_the_errno_of_connect(user: str, error: int) -> None:
    """Of one that waits and one that does not, to everywhere."""
    ways, addresses = (connect, connect_later), (FAR_V4, FAR_V6, "127.0.0.1", "::1")

    def try_all() -> dict[tuple[str, str], str]:
        return {(way.__name__, address): way(address) for way in ways for address in addresses}

    told, _ = held_inside(user, refuse(error), lambda inside: joined(inside, try_all))
    wanted = errno.errorcode[error]
    assert told == {(way.__name__, address): wanted for way in ways for address in addresses}


@each_way
@pytest.mark.parametrize(("error", "told"), [(errno.EACCES, "EACCES"), (errno.EIO, "EHOSTUNREACH")])
def test_what_a_network_cannot_say_is_an_unreachable_host(error: int, told: str) -> None:
    assert (
        held_inside("plain", refuse(error), lambda inside: joined(inside, lambda: connect(FAR_V6)))[0] == told
    )


@each_way
def test_a_packet_that_is_dropped_is_repeated_with_its_number() -> None:
    seen: list[HeldSyn] = []

    def drop_the_first(queue: SynQueue, syn: HeldSyn) -> None:
        seen.append(syn)
        (queue.drop if len(seen) == 1 else queue.let_go)(syn)

    told, judged = held_inside(
        "plain", drop_the_first, lambda inside: joined(inside, lambda: connect(FAR_V4))
    )
    assert told.startswith("captured")
    assert len({syn.sequence for syn in judged}) == 1
    assert len({syn.packet for syn in judged}) >= 2


@each_way
@pytest.mark.parametrize("address", [FAR_V4, FAR_V6])
def test_a_packet_that_was_held_until_it_was_repeated_still_makes_the_connection(address: str) -> None:
    first: list[HeldSyn] = []

    def wait_for_the_second(queue: SynQueue, syn: HeldSyn) -> None:
        if first:
            queue.drop(syn)
            queue.let_go(first[0])
        first.append(syn)

    told, judged = held_inside(
        "plain", wait_for_the_second, lambda inside: joined(inside, lambda: connect(address))
    )
    assert told.startswith(f"captured {address}")
    assert len({syn.packet for syn in judged}) >= 2


@each_way
def test_what_the_child_has_itself_is_not_held() -> None:
    def serve_itself() -> list[str]:
        heard = []
        for address in ("127.0.0.1", "::1", POD_V4, POD_V6):
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            with socket.create_server((address, 0), family=family) as server:
                with socket.create_connection((address, server.getsockname()[1]), 5) as client:
                    heard.append(client.getpeername()[0])
        return heard

    told, seen = held_inside("plain", refuse(errno.EIO), lambda inside: joined(inside, serve_itself))
    assert (told, seen) == (["127.0.0.1", "::1", POD_V4, POD_V6], [])


@each_way
def test_a_helper_of_the_pod_is_held_at_the_pods_address_and_a_datagram_is_not() -> None:
    def ask() -> tuple[str, str]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(5)
            sock.connect((FAR_V4, 53))
            sock.send(b"who?")
            return connect(POD_V4, HELPER_PORT), sock.recv(1000).decode()

    (told, answered), seen = held_inside(
        "plain",
        refuse(errno.ECONNREFUSED),
        lambda inside: joined(inside, ask),
        helper_ports=(HELPER_PORT,),
    )
    assert (told, {syn.destination for syn in seen}) == ("ECONNREFUSED", {(POD_V4, HELPER_PORT)})
    assert answered.startswith(f"captured {FAR_V4} 53")


@each_way
@pytest.mark.parametrize("shape", ["IPv4", "IPv6", "IPv4 over IPv6"])
def test_a_child_that_gives_up_is_told_of_and_one_that_goes_on_is_not(shape: str) -> None:
    meant = FAR_V6 if shape == "IPv6" else FAR_V4

    def give_up() -> None:
        family = socket.AF_INET if shape == "IPv4" else socket.AF_INET6
        address = f"::ffff:{meant}" if shape == "IPv4 over IPv6" else meant
        with socket.socket(family) as goes_on, socket.socket(family) as given_up:
            for each, port in ((goes_on, 1), (given_up, 2)):
                each.setblocking(False)
                assert each.connect_ex((address, port)) == errno.EINPROGRESS
            given_up.close()
            os.read(waiting, 1)

    waiting, done = os.pipe()

    async def main() -> Any:
        async with entered(view(held=True)) as inside:
            queue = inside.syn_queue
            assert queue is not None
            started = start_joined(inside, give_up)
            syns: dict[int, HeldSyn] = {}
            gone: list[Any] = []
            while len(syns) < 2 or (syns[2].child, syns[2].destination) not in gone:
                await _readable(*queue.descriptors)
                held, ended = queue.receive()
                syns |= {syn.destination[1]: syn for syn in held}
                gone += ended
            there = {port: queue.is_connecting(syn) for port, syn in syns.items()}
            os.write(done, b"!")
            await answer_of(*started)
            return there, syns[2].destination

    assert run_trio_as("plain", main) == ({1: True, 2: False}, (meant, 2))


@each_way
def test_a_port_is_used_again_and_again_for_the_same_destination() -> None:
    """The relay closes first: TIME_WAIT is on our side, where the next packet of these ends arrives."""

    def again_and_again() -> list[str]:
        told = []
        for _ in range(5):
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as child:
                child.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                child.bind((POD_V4, 40123))
                child.settimeout(8)
                child.connect((FAR_V4, 5432))
                told.append(child.recv(1000).decode())
                assert child.recv(1) == b""
        return told

    told, seen = held_inside("plain", let_go, lambda inside: joined(inside, again_and_again))
    assert told == [f"captured {FAR_V4} 5432 {POD_V4}"] * 5
    assert len({syn.sequence for syn in seen}) == 5


async def _readable(*descriptors: int) -> None:
    async with trio.open_nursery() as nursery:

        async def one(descriptor: int) -> None:
            await trio.lowlevel.wait_readable(descriptor)
            nursery.cancel_scope.cancel()

        for descriptor in descriptors:
            nursery.start_soon(one, descriptor)


@each_way
def test_500_at_once_are_each_held_and_answered() -> None:
    def crowd() -> int:
        kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK
        children = [socket.socket(socket.AF_INET, kind) for _ in range(500)]
        poll = select.poll()
        for child in children:
            assert child.connect_ex((FAR_V4, 5432)) == errno.EINPROGRESS
            poll.register(child, select.POLLOUT)
        refused = 0
        while refused < len(children):
            for descriptor, _event in poll.poll():
                poll.unregister(descriptor)
                refused += 1
        return refused

    refused, seen = held_inside("plain", refuse(errno.ECONNREFUSED), lambda inside: joined(inside, crowd))
    assert refused == 500
    assert len({syn.child for syn in seen}) == 500


@each_user
def test_a_kernel_that_cannot_hold_has_connections_as_without_and_it_is_told(
    user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "open_queue", there_is_no_queue)
    monkeypatch.setattr(syn_log, "open_log", there_is_no_log)
    notices: list[str] = []

    async def main() -> Any:
        from telepresence_py.isolation import userns
        from tests.telepresence_py.isolation.joined import fork_agent

        async with userns.enter(view(held=True), notices.append, start=fork_agent) as inside:
            async with trio.open_nursery() as nursery:
                await nursery.start(tell_destinations, inside)
                told = await joined(inside, lambda: connect(FAR_V4))
                nursery.cancel_scope.cancel()
            return told, inside.syn_queue is None, notices

    told, is_none, said = run_trio_as(user, main)
    assert told.startswith("captured")
    assert is_none
    (notice,) = [each for each in said if "connect()" in each]
    assert "queue: there is no queue; log: there is no log" in notice
    assert "--connect fast" in notice


def test_a_queue_that_does_not_hold_what_is_tried_out_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(_refuse: object, _family: int) -> None:
        raise OSError(errno.ECONNREFUSED, "not held")

    monkeypatch.setattr(syn_queue, "_try_out", fails)

    async def main() -> Any:
        async with entered(view(held=True)) as inside, trio.open_nursery() as nursery:
            await nursery.start(tell_destinations, inside)
            told = await joined(inside, lambda: (connect(FAR_V4), connect(FAR_V6)))
            nursery.cancel_scope.cancel()
        return told

    assert all(told.startswith("captured") for told in run_trio_as("plain", main))
