from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import pytest
import trio

from telepresence_py.forward import inbound as inbound_module
from telepresence_py.forward.handover import Diagnosis
from telepresence_py.forward.inbound import ChildNetwork, Inbound, serve_inbound
from telepresence_py.forward.joining import reset_socket
from telepresence_py.forward.packets import Endpoint, endpoint_of
from telepresence_py.model.errors import SessionLost
from telepresence_py.model.network import PortMap
from telepresence_py.tunnel.bridge import in_asyncio
from telepresence_py.tunnel.interface import MuxStream
from tests.fakes.sink import Recorder
from tests.telepresence_py.forward.worlds import MuxTunnel, in_session

POD = "127.0.0.77"
"""Plays the pod's own address: an address of loopback that is not `localhost`."""


@dataclass
class Child:
    """A child on the laptop's loopback; `listening` is what is seen of it, true or not."""

    listening: dict[int, frozenset[str]] = field(default_factory=dict)
    sockets: int = 0
    gone: bool = False
    diagnosis: Diagnosis | None = None
    asked: int = 0
    sockets_come: trio.Event | None = None

    async def make_socket(self, family: int) -> socket.socket:
        self.asked += 1
        if self.sockets_come is not None:
            await self.sockets_come.wait()
        if self.gone:
            raise SessionLost("gone")
        self.sockets += 1
        return socket.socket(family, socket.SOCK_STREAM)

    @contextmanager
    def listens(self, host: str = POD, seen: bool = True) -> Iterator[socket.socket]:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, 0), family=family) as server:
            server.settimeout(5)
            port = server.getsockname()[1]
            if seen:
                self.listening[port] = frozenset({host})
            yield server
        self.listening.pop(port, None)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  nobody sets an event for what is waited for
        await trio.sleep(0.001)


@asynccontextmanager
async def served(child: Child, *ports: PortMap) -> AsyncIterator[tuple[Inbound, MuxTunnel]]:
    network = ChildNetwork(child.make_socket, lambda: dict(child.listening), (POD,), child.diagnosis)
    tunnel = MuxTunnel()
    async with trio.open_nursery() as nursery:
        async with serve_inbound(nursery, ports, network) as inbound:
            inbound.attach(tunnel.as_tunnel())
            yield inbound, tunnel


def port_of(server: socket.socket, pod_port: int = 80) -> PortMap:
    return PortMap(pod_port, server.getsockname()[1])


async def accepted(server: socket.socket) -> socket.socket:
    connection, _ = await trio.to_thread.run_sync(server.accept)
    return connection


async def opened(stream: MuxStream) -> int:
    """The errno with which the laptop took it, 0 if it did."""

    async def answer() -> int:
        return await stream.opened

    return await in_asyncio(answer)


@pytest.mark.parametrize("host", [POD, "0.0.0.0", "127.0.0.1", "::1"])
def test_a_connection_to_the_pod_reaches_the_child_wherever_it_listens(host: str) -> None:
    @in_session
    async def reached() -> None:
        child = Child()
        with child.listens(host) as server:
            async with served(child, port_of(server)) as (_, tunnel):
                stream = tunnel.connect_in(80, b"GET /")
                client = Recorder()
                stream.set_protocol(client)
                with await accepted(server) as connection:
                    assert await opened(stream) == 0
                    assert connection.recv(100) == b"GET /"
                    connection.sendall(b"200")
                await until(client.eof.is_set)
                assert client.received == b"200"

    reached()


@in_session
async def test_what_nobody_listens_on_is_refused_so_that_the_pod_keeps_it() -> None:
    child = Child()
    async with served(child, PortMap(80, 8080)) as (_, tunnel):
        assert await opened(tunnel.connect_in(80)) == errno.ECONNREFUSED
        assert await opened(tunnel.connect_in(81)) == errno.ECONNREFUSED
        assert child.sockets == 0


@in_session
async def test_what_comes_by_the_pods_loopback_goes_to_loopback_and_no_readiness_waits_for_it() -> None:
    child = Child()
    with child.listens("127.0.0.1") as server:
        child.listening[port_of(server).child_port] = frozenset({"0.0.0.0"})
        by_loopback = PortMap(81, server.getsockname()[1], of_loopback=True)
        async with served(child, by_loopback, PortMap(82, 1, of_loopback=True)) as (inbound, tunnel):
            await inbound.wait_listening()
            assert inbound.served == {81}
            stream = tunnel.connect_in(81)
            with await accepted(server):
                assert await opened(stream) == 0


@in_session
async def test_whoever_wants_to_hears_of_each_change_of_what_is_listened_on() -> None:
    child, heard = Child(), []
    network = ChildNetwork(child.make_socket, lambda: dict(child.listening), (POD,))
    async with trio.open_nursery() as nursery:
        async with serve_inbound(nursery, (), network, heard.append):
            child.listening[7] = frozenset({"::"})
            await until(lambda: len(heard) == 1)
            child.listening[8] = frozenset({"127.0.0.1"})
            await until(lambda: len(heard) == 2)
            child.listening.clear()
            await until(lambda: len(heard) == 3)
    assert heard == [{7: {"::"}}, {7: {"::"}, 8: {"127.0.0.1"}}, {}]


@in_session
async def test_the_tunnels_are_told_what_is_listened_on_as_it_changes() -> None:
    child = Child()
    async with served(child, PortMap(80, 8080), PortMap(81, 8081)) as (inbound, tunnel):
        child.listening[8080] = frozenset({"0.0.0.0"})
        await until(lambda: inbound.served == {80})
        child.listening[8081] = frozenset({"127.0.0.1"})
        await until(lambda: inbound.served == {80, 81})
        del child.listening[8080]
        await until(lambda: inbound.served == {81})
        late = MuxTunnel()
        inbound.attach(late.as_tunnel())
        assert late.told == [{81}]
    assert tunnel.told == [set(), {80}, {80, 81}, {81}, set()]
    assert late.told == [{81}, set()]


@in_session
async def test_ready_is_when_every_mapped_port_is_listened_on() -> None:
    child = Child()
    async with served(child, PortMap(80, 8080), PortMap(81, 8081)) as (inbound, _):
        child.listening[8080] = frozenset({"0.0.0.0"})
        with trio.move_on_after(0.1) as waiting:
            await inbound.wait_listening()
        assert waiting.cancelled_caught
        child.listening[8081] = frozenset({"0.0.0.0"})
        await inbound.wait_listening()


@in_session
async def test_without_ports_the_child_is_ready_at_once() -> None:
    async with served(Child()) as (inbound, _):
        await inbound.wait_listening()


@in_session
async def test_a_port_that_refuses_is_told_as_gone_and_then_as_back() -> None:
    """The pod offers what waits when a port comes back; a restart between two looks would go unnoticed."""
    child = Child()
    child.listening[1] = frozenset({"0.0.0.0"})  # what is seen lies: nobody listens on port 1
    async with served(child, PortMap(80, 1)) as (_, tunnel):
        assert await opened(tunnel.connect_in(80)) == errno.ECONNREFUSED
        await until(lambda: len(tunnel.told) == 3)
        assert tunnel.told == [{80}, set(), {80}]


def test_a_child_that_just_began_to_listen_is_reached_before_the_next_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inbound_module, "EAGER_SECONDS", 60.0)

    @in_session
    async def reached() -> None:
        child = Child()
        with child.listens(seen=False) as server:
            mapped = port_of(server)
            async with served(child, mapped) as (inbound, tunnel):
                await trio.sleep(2 * inbound_module.FRESH_SECONDS)
                child.listening[mapped.child_port] = frozenset({POD})
                assert await opened(tunnel.connect_in(80)) == 0
                assert inbound.served == {80}

    reached()


@in_session
async def test_a_loopback_port_is_looked_at_again_before_it_could_lead_to_the_laptop() -> None:
    child = Child()
    with child.listens("127.0.0.1") as of_the_laptop:
        mapped = port_of(of_the_laptop)
        async with served(child, mapped) as (_, tunnel):
            await trio.sleep(0.02)
            child.listening.clear()
            assert await opened(tunnel.connect_in(80)) == errno.ECONNREFUSED
            assert child.sockets == 0


@pytest.mark.parametrize("listens", [True, False])
def test_a_reset_at_once_is_told_unless_it_was_because_nobody_listened(
    listens: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a loopback address the connection fell through to the laptop, where outbound refused it."""

    async def reset_at_once(connection: socket.socket) -> None:
        connection.close()
        if not listens:
            child.listening.clear()
        raise ConnectionResetError

    @in_session
    async def told() -> None:
        with child.listens("127.0.0.1") as server:
            async with served(child, port_of(server)) as (_, tunnel):
                stream = tunnel.connect_in(80)
                if not listens:
                    assert await opened(stream) == errno.ECONNREFUSED
                    return
                assert await opened(stream) == 0
                client = Recorder()
                stream.set_protocol(client)
                await until(client.lost.done)
                assert isinstance(client.lost.result(), ConnectionResetError)

    child = Child()
    monkeypatch.setattr(inbound_module, "wait_connected", reset_at_once)
    told()


@in_session
async def test_our_own_connections_are_known_by_their_end_for_as_long_as_they_live() -> None:
    child = Child()
    with child.listens() as server:
        async with served(child, port_of(server)) as (inbound, tunnel):
            stream = tunnel.connect_in(80)
            with await accepted(server) as connection:
                peer = endpoint_of(connection.getpeername())
                assert await opened(stream) == 0
                assert inbound.made(peer)
                assert not inbound.made(Endpoint("127.0.0.1", 1))
                stream.abort()
                await until(lambda: not inbound.made(peer))


@in_session
async def test_a_reset_by_the_child_is_a_reset_for_the_client() -> None:
    child = Child()
    with child.listens() as server:
        async with served(child, port_of(server)) as (_, tunnel):
            client = Recorder()
            tunnel.connect_in(80, b"x").set_protocol(client)
            reset_socket(await accepted(server))
            await until(client.lost.done)
            assert isinstance(client.lost.result(), ConnectionResetError)


@in_session
async def test_a_child_that_is_gone_altogether_is_nobody_listening() -> None:
    child = Child()
    with child.listens() as server:
        async with served(child, port_of(server)) as (_, tunnel):
            child.gone = True
            assert await opened(tunnel.connect_in(80)) == errno.ECONNREFUSED


@in_session
async def test_a_client_that_leaves_while_we_connect_leaves_nothing() -> None:
    child = Child()
    with child.listens() as server:
        async with served(child, port_of(server)) as (inbound, tunnel):
            tunnel.connect_in(80).abort()
            assert await opened(tunnel.connect_in(80)) == 0
            await until(lambda: len(inbound) == 1)


@in_session
async def test_the_end_says_that_nobody_listens_and_resets_what_lives() -> None:
    child = Child()
    with child.listens() as server:
        async with served(child, port_of(server)) as (_, tunnel):
            client = Recorder()
            stream = tunnel.connect_in(80)
            stream.set_protocol(client)
            connection = await accepted(server)
            assert await opened(stream) == 0
        assert tunnel.told[-1] == set()
        await until(client.lost.done)
        with connection, pytest.raises(ConnectionResetError):
            connection.recv(1)
        assert await opened(tunnel.connect_in(80)) == errno.ECONNREFUSED


@in_session
async def test_a_connection_that_the_end_overtakes_goes_on_waiting_in_the_pod() -> None:
    child = Child()
    child.sockets_come = trio.Event()
    with child.listens() as server:
        async with served(child, port_of(server)) as (_, tunnel):
            stream = tunnel.connect_in(80)
            await until(lambda: child.asked == 1)
        assert await opened(stream) == errno.ECONNREFUSED


@in_session
async def test_many_at_once_are_all_taken() -> None:
    child = Child()
    async with served_echo(child) as mapped, served(child, mapped) as (_, tunnel):
        clients = []
        for number in range(200):
            client = Recorder()
            tunnel.connect_in(80, b"%d" % number).set_protocol(client)
            clients.append(client)
        for number, client in enumerate(clients):
            await until(lambda client=client, number=number: client.received == b"%d" % number)  # type: ignore[misc]


@asynccontextmanager
async def served_echo(child: Child) -> AsyncIterator[PortMap]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(100))
        writer.close()

    async def start() -> asyncio.Server:
        return await asyncio.start_server(echo, POD, 0, backlog=500)

    server = await in_asyncio(start)
    port = server.sockets[0].getsockname()[1]
    child.listening[port] = frozenset({POD})
    yield PortMap(80, port)
    server.close()
