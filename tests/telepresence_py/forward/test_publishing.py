from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from random import choice
from typing import ClassVar

import pytest
import trio

from telepresence_py.forward.inbound import ChildNetwork
from telepresence_py.forward.laptop_port import LaptopPort
from telepresence_py.forward.packets import endpoint_of
from telepresence_py.forward.publishing import EPHEMERAL, Published, serve_published, taken_ports
from telepresence_py.model.errors import PreconditionFailed, SessionLost
from telepresence_py.model.events import Event, Level
from telepresence_py.model.intent import PublishedPort
from tests.telepresence_py.forward.worlds import in_session

POD = "127.0.0.77"
"""Plays the pod's own address, and the child's whole network: what listens there is not on `localhost`."""


@dataclass
class World:
    """The service with a child whose sockets connect to POD, wherever they are meant to go."""

    published: Published
    told: list[Event] = field(default_factory=list)

    @property
    def texts(self) -> list[str]:
        return [event.text for event in self.told]


class Inside(socket.socket):
    """Loopback of the child's world is another than ours."""

    meant: ClassVar[list[str]] = []

    def connect_ex(self, address):
        self.meant.append(address[0])
        return super().connect_ex((POD, address[1]))


async def make_socket(family: int) -> socket.socket:
    return Inside(socket.AF_INET, socket.SOCK_STREAM)


async def gone(family: int) -> socket.socket:
    raise SessionLost("gone")


@asynccontextmanager
async def serving(taken=None, others=True, make=make_socket) -> AsyncIterator[World]:
    Inside.meant = []
    told: list[Event] = []
    network = ChildNetwork(make, dict, (POD,))
    async with trio.open_nursery() as nursery:
        async with serve_published(nursery, network, taken or {}, others, told.append) as published:
            yield World(published, told)


CHOSEN = range(20000, 32000)
"""Ports that no kernel gives to who binds port 0, so that nobody else takes them meanwhile."""


def free_port(among: range = CHOSEN) -> int:
    while True:
        port = choice(among)
        with suppress(OSError):
            LaptopPort(port).close()
            return port


@contextmanager
def child_server() -> Iterator[socket.socket]:
    """On a port that is free on `localhost`, too, in both families."""
    with socket.create_server((POD, free_port())) as server:
        server.settimeout(5)
        yield server


def port_of(server: socket.socket) -> int:
    return int(server.getsockname()[1])


async def talk(port: int, host: str = "127.0.0.1") -> bytes:
    """What comes after "ping" and the end of our direction."""
    stream = await trio.open_tcp_stream(host, port)
    async with stream:
        await stream.send_all(b"ping")
        await stream.send_eof()
        return b"".join([chunk async for chunk in stream])


async def answer_one(server: socket.socket, heard: list[bytes]) -> None:
    connection, _ = await trio.to_thread.run_sync(server.accept)
    with connection:
        heard.append(await trio.to_thread.run_sync(connection.recv, 100))
        connection.sendall(b"pong")


async def is_refused(port: int) -> bool:
    try:
        (await trio.open_tcp_stream("127.0.0.1", port)).socket.close()
    except OSError:
        return True
    return False


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_what_the_child_listens_on_is_reached_on_the_laptops_localhost(host: str) -> None:
    @in_session
    async def reached() -> None:
        heard: list[bytes] = []
        with child_server() as server:
            async with serving() as world, trio.open_nursery() as nursery:
                world.published.heard({port_of(server): frozenset({"0.0.0.0"})})
                nursery.start_soon(answer_one, server, heard)
                assert await talk(port_of(server), host) == b"pong"
            assert heard == [b"ping"]
            assert Inside.meant == ["127.0.0.1"]

    reached()


@in_session
async def test_it_is_told_once_however_often_the_child_starts_again() -> None:
    port = free_port()
    async with serving() as world:
        for _ in range(3):
            world.published.heard({port: frozenset({"::"})})
            world.published.heard({})
        assert world.texts == [f"localhost:{port} on this laptop reaches the command"]
        assert world.told[0].level is Level.STEP


@in_session
async def test_several_ports_are_told_in_one_line() -> None:
    first, second = free_port(range(20_000, 26_000)), free_port(range(26_000, 32_000))
    async with serving() as world:
        world.published.heard({first: frozenset({"0.0.0.0"}), second: frozenset({"0.0.0.0"})})
        assert world.texts == [f"localhost:{first}, localhost:{second} on this laptop reach the command"]


@in_session
async def test_a_port_of_the_kernels_choice_on_loopback_is_published_but_a_detail() -> None:
    port = free_port(EPHEMERAL)
    async with serving() as world:
        world.published.heard({port: frozenset({"127.0.0.1"})})
        assert [event.level for event in world.told] == [Level.DETAIL]
        assert not await is_refused(port)


@in_session
async def test_while_the_child_does_not_listen_who_calls_is_refused() -> None:
    port = free_port()
    async with serving() as world:
        assert await is_refused(port)
        world.published.heard({port: frozenset({"127.0.0.1"})})
        assert not await is_refused(port)
        world.published.heard({})
        assert await is_refused(port)


@in_session
async def test_a_listener_that_no_connection_from_loopback_reaches_is_not_published() -> None:
    port = free_port()
    async with serving() as world:
        world.published.heard({port: frozenset({"192.0.2.1"})})
        assert await is_refused(port)
        assert not world.told


@pytest.mark.parametrize("at", ["127.0.0.1", "::1", "0.0.0.0"])
def test_a_port_that_the_laptop_has_itself_is_told_once_and_left_alone(at: str) -> None:
    @in_session
    async def told() -> None:
        family = socket.AF_INET6 if ":" in at else socket.AF_INET
        with socket.create_server((at, 0), family=family) as theirs:
            async with serving() as world:
                for _ in range(2):
                    world.published.heard({port_of(theirs): frozenset({"0.0.0.0"})})
                    world.published.heard({})
                (event,) = world.told
                assert event.level is Level.NOTICE
                assert f"another program has port {port_of(theirs)} of this laptop" in event.text
                assert f":{port_of(theirs)}" in event.text.partition("--publish ")[2]

    told()


@in_session
async def test_nothing_but_what_was_asked_for_is_published_without_the_others() -> None:
    ports = [PublishedPort(free_port(), 8080)]
    other = free_port()
    with taken_ports(ports) as taken:
        async with serving(taken, others=False) as world:
            world.published.heard({8080: frozenset({"0.0.0.0"}), other: frozenset({"0.0.0.0"})})
            assert await is_refused(other)
            assert not await is_refused(ports[0].laptop_port)
            assert world.texts == [
                f"localhost:{ports[0].laptop_port} (its 8080) on this laptop reaches the command"
            ]


@in_session
async def test_a_port_that_was_asked_for_stays_ours_while_the_child_does_not_listen() -> None:
    ports = [PublishedPort(free_port(), 8080)]
    with taken_ports(ports) as taken:
        async with serving(taken) as world:
            for _ in range(2):
                assert await is_refused(ports[0].laptop_port)
                with socket.socket() as other, pytest.raises(OSError, match="in use"):
                    other.bind(("127.0.0.1", ports[0].laptop_port))
                world.published.heard({8080: frozenset({"0.0.0.0"})})
                assert not await is_refused(ports[0].laptop_port)
                world.published.heard({})
    with socket.create_server(("127.0.0.1", ports[0].laptop_port)):
        pass


def test_a_port_that_was_asked_for_and_cannot_be_had_is_an_error_that_names_another() -> None:
    free = free_port()
    with socket.create_server(("127.0.0.1", 0)) as theirs:
        asked = [PublishedPort(free, 1), PublishedPort(port_of(theirs), 8080)]
        with pytest.raises(PreconditionFailed, match=rf"port {port_of(theirs)} .*--publish 18080:8080"):
            with taken_ports(asked):
                pass
    LaptopPort(free).close()


@in_session
async def test_a_port_that_was_asked_for_and_on_which_another_was_quicker_is_a_warning() -> None:
    asked = PublishedPort(free_port(), 8080)
    with taken_ports([asked]) as taken, socket.socket() as quicker:
        quicker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        quicker.bind(("127.0.0.1", asked.laptop_port))
        quicker.listen()
        async with serving(taken) as world:
            world.published.heard({8080: frozenset({"0.0.0.0"})})
            (event,) = world.told
            assert event.level is Level.WARNING
            assert "port 8080 is not published" in event.text


def test_nothing_is_listened_on_beyond_loopback() -> None:
    port = LaptopPort(free_port())
    assert {each.getsockname()[0] for each in port._sockets} == {"127.0.0.1", "::1"}
    port.close()


@in_session
async def test_our_connections_to_the_child_are_known_for_as_long_as_they_live() -> None:
    with child_server() as server:
        async with serving() as world:
            world.published.heard({port_of(server): frozenset({"0.0.0.0"})})
            client = await trio.open_tcp_stream("127.0.0.1", port_of(server))
            connection, peer = await trio.to_thread.run_sync(server.accept)
            with connection:
                assert world.published.made(endpoint_of(peer))
                await client.aclose()
            while world.published.made(endpoint_of(peer)):  # noqa: ASYNC110  nobody sets an event for it
                await trio.sleep(0.001)


@pytest.mark.parametrize("make", [make_socket, gone])
def test_a_connection_that_nobody_inside_takes_is_reset(make) -> None:
    @in_session
    async def reset() -> None:
        port = free_port()
        async with serving(make=make) as world:
            world.published.heard({port: frozenset({"0.0.0.0"})})
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some(1)
            await stream.aclose()

    reset()


@in_session
async def test_connections_are_reset_and_ports_given_back_at_the_end() -> None:
    with child_server() as server:
        async with serving() as world:
            world.published.heard({port_of(server): frozenset({"0.0.0.0"})})
            client = await trio.open_tcp_stream("127.0.0.1", port_of(server))
            connection, _ = await trio.to_thread.run_sync(server.accept)
        with connection, pytest.raises(ConnectionResetError):
            connection.recv(1)
        with pytest.raises(trio.BrokenResourceError):
            await client.receive_some(1)
        await client.aclose()
        LaptopPort(port_of(server)).close()
