"""Connections that the child has not accepted yet, told by this kernel; the child is on the loopback."""

from __future__ import annotations

import errno
import select
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress

import pytest
import trio

from telepresence_py.forward import handover
from telepresence_py.forward.inbound import ChildNetwork, Inbound, serve_inbound
from telepresence_py.forward.joining import reset_socket
from telepresence_py.forward.packets import Endpoint
from telepresence_py.isolation.diagnosis import Diagnosis, open_wire
from telepresence_py.model.network import PortMap
from telepresence_py.model.world import Reception
from telepresence_py.tunnel.bridge import in_asyncio, run
from telepresence_sidecar.inbound import Inbound as PodInbound
from tests.fakes.sink import Recorder
from tests.telepresence_py.forward.test_inbound import (
    POD,
    Child,
    accepted,
    in_session,
    opened,
    port_of,
    until,
)
from tests.telepresence_py.forward.worlds import MuxTunnel, connect
from tests.telepresence_py.isolation.joined import POD_V4, POD_V6, entered, run_as, start_joined, view

IGNORED = 0.05
"""Seconds after which a child that has not accepted is not going to."""

NEVER = 10**9


class Kernel:
    """The kernel's diagnosis, counted; of the first `hidden` answers, TAKEN and what follows are QUEUED."""

    def __init__(self, wire: socket.socket, hidden: int = 0) -> None:
        self.asked = 0
        self.hidden = hidden
        self._diagnosis = Diagnosis(wire)
        self.listeners = self._diagnosis.listeners

    def reception(self, child_end: Endpoint, our_end: Endpoint) -> Reception:
        self.asked += 1
        told = self._diagnosis.reception(child_end, our_end)
        return Reception.QUEUED if self.asked <= self.hidden and told is Reception.TAKEN else told


@contextmanager
def kernel(hidden: int = 0) -> Iterator[Kernel]:
    with socket.create_server(("127.0.0.1", 0)):
        wire = open_wire()
    assert wire is not None
    with wire:
        yield Kernel(wire, hidden)


@asynccontextmanager
async def serving(child: Child, *ports: PortMap, hidden: int = 0) -> AsyncIterator[Served]:
    with kernel(hidden) as asked:
        network = ChildNetwork(child.make_socket, lambda: dict(child.listening), (POD,), asked)
        tunnel = MuxTunnel()
        async with trio.open_nursery() as nursery:
            async with serve_inbound(nursery, ports, network) as inbound:
                inbound.attach(tunnel.as_tunnel())
                yield Served(inbound, tunnel, asked)


async def received(connection: socket.socket) -> bytes:
    return await trio.to_thread.run_sync(connection.recv, 100)


def accepted_now(server: socket.socket) -> list[socket.socket]:
    """All that wait to be accepted."""
    server.setblocking(False)
    taken = []
    with suppress(BlockingIOError):
        while True:
            taken.append(server.accept()[0])
    return taken


class Served:
    def __init__(self, inbound: Inbound, tunnel: MuxTunnel, asked: Kernel) -> None:
        self.inbound = inbound
        self.tunnel = tunnel
        self.kernel = asked
        self.connect_in = tunnel.connect_in


@pytest.mark.parametrize("host", [POD, "0.0.0.0", "127.0.0.1", "::1"])
def test_nothing_is_told_or_sent_before_the_child_accepts(host: str) -> None:
    @in_session
    async def told() -> None:
        child = Child()
        with child.listens(host) as server:
            async with serving(child, port_of(server)) as served:
                stream = served.connect_in(80, b"GET /")
                await trio.sleep(IGNORED)
                assert not stream.opened.done()
                await trio.lowlevel.wait_readable(server)
                with server.accept()[0] as connection:
                    with pytest.raises(BlockingIOError):
                        connection.recv(100, socket.MSG_DONTWAIT)
                    assert await opened(stream) == 0
                    assert await received(connection) == b"GET /"

    told()


def test_a_listener_of_both_families_accepts_ipv4_too() -> None:
    @in_session
    async def told() -> None:
        child = Child()
        with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
            mapped = port_of(server)
            child.listening[mapped.child_port] = frozenset({"::"})
            async with serving(child, mapped) as served:
                stream = served.connect_in(80, b"GET /")
                await trio.sleep(IGNORED)
                assert not stream.opened.done()
                with await accepted(server) as connection:
                    assert connection.getpeername()[0].startswith("::ffff:127.")
                    assert await opened(stream) == 0
                    assert await received(connection) == b"GET /"

    told()


@in_session
async def test_a_listener_that_ends_without_accepting_has_had_nothing() -> None:
    child = Child()
    with child.listens() as server:
        async with serving(child, port_of(server)) as served:
            stream = served.connect_in(80, b"GET /")
            await until(lambda: served.kernel.asked > 2)
            server.close()
            assert await opened(stream) == errno.ECONNREFUSED


@in_session
async def test_a_child_that_accepted_and_dies_resets_the_client() -> None:
    child = Child()
    with child.listens() as server:
        async with serving(child, port_of(server)) as served:
            stream = served.connect_in(80, b"GET /")
            connection = await accepted(server)
            assert await opened(stream) == 0
            client = Recorder()
            stream.set_protocol(client)
            reset_socket(connection)
            server.close()
            await until(client.lost.done)
            assert isinstance(client.lost.result(), ConnectionResetError)


@pytest.mark.parametrize("listener_ends", [False, True])
def test_a_reset_too_quick_to_be_seen_is_the_childs_own_if_its_listener_goes_on(listener_ends: bool) -> None:
    @in_session
    async def told() -> None:
        child = Child()
        with child.listens() as server:
            async with serving(child, port_of(server), hidden=NEVER) as served:
                client = Recorder()
                stream = served.connect_in(80, b"GET /")
                stream.set_protocol(client)
                connection = await accepted(server)
                if listener_ends:
                    server.close()
                reset_socket(connection)
                if listener_ends:
                    assert await opened(stream) == errno.ECONNREFUSED
                    return
                assert await opened(stream) == 0
                await until(client.lost.done)

    told()


@in_session
async def test_a_child_that_speaks_first_and_hangs_up_is_heard() -> None:
    child = Child()
    with child.listens() as server:
        async with serving(child, port_of(server)) as served:
            client = Recorder()
            served.connect_in(80).set_protocol(client)
            with await accepted(server) as connection:
                connection.sendall(b"220 hello")
            await until(client.eof.is_set)
            assert client.received == b"220 hello"


@in_session
async def test_a_listener_that_defers_gets_the_first_bytes_to_wake_up() -> None:
    child = Child()
    with child.listens() as server:
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 30)
        async with serving(child, port_of(server)) as served:
            began = time.monotonic()
            stream = served.connect_in(80, b"GET /")
            with await accepted(server) as connection:
                assert await received(connection) == b"GET /"
                assert await opened(stream) == 0
            assert time.monotonic() - began < 10, "without them it would be shown after half a minute"


@in_session
async def test_a_connection_that_the_kernel_does_not_show_is_made_to_show_by_its_bytes() -> None:
    child = Child()
    with child.listens() as server:
        async with serving(child, port_of(server)) as served:
            served.kernel.reception = lambda *_: Reception.UNSEEN  # type: ignore[method-assign]
            began = time.monotonic()
            assert await opened(served.connect_in(80)) == 0
            assert time.monotonic() - began >= handover.UNSEEN_SECONDS


def test_a_child_that_stands_at_a_breakpoint_keeps_its_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the pod would reset them when it has held them for as long as it may."""

    @in_session
    async def kept() -> None:
        child = Child()
        with child.listens() as server:
            async with serving(child, port_of(server)) as served:
                streams = [served.connect_in(80), served.connect_in(80)]
                assert [await opened(each) for each in streams] == [0, 0]

    monkeypatch.setattr(handover, "PATIENCE_SECONDS", IGNORED)
    kept()


@in_session
async def test_a_diagnosis_that_fails_is_as_good_as_none() -> None:
    def fails(*_: object) -> Reception:
        raise OSError(errno.ENOBUFS, "full")

    child = Child()
    with child.listens() as server:
        async with serving(child, port_of(server)) as served:
            served.kernel.reception = fails  # type: ignore[method-assign]
            assert await opened(served.connect_in(80)) == 0


@in_session
async def test_a_client_that_gives_up_does_not_take_the_port_from_the_others() -> None:
    child = Child()
    with child.listens() as server:
        async with serving(child, port_of(server)) as served:
            leaving = served.connect_in(80)
            await until(lambda: served.kernel.asked > 2)
            leaving.abort()
            stream = served.connect_in(80, b"x")
            await trio.sleep(IGNORED)
            gone, there = await accepted(server), await accepted(server)
            with gone, there:
                with pytest.raises(ConnectionResetError):
                    await received(gone)
                assert await opened(stream) == 0
                assert await received(there) == b"x"
            assert served.tunnel.told == [{80}]


@in_session
async def test_what_nobody_accepted_goes_on_waiting_when_the_session_ends() -> None:
    child = Child()
    with child.listens() as server:
        async with serving(child, port_of(server)) as served:
            stream = served.connect_in(80, b"GET /")
            await until(lambda: served.kernel.asked > 2)
        assert await opened(stream) == errno.ECONNREFUSED


@in_session
async def test_how_many_wait_does_not_matter_to_the_cost_nor_to_the_order() -> None:
    child = Child()
    with child.listens() as server:
        server.listen(500)
        async with serving(child, port_of(server)) as served:
            streams = [served.connect_in(80, b"%03d" % number) for number in range(300)]
            await until(lambda: child.sockets == len(streams))
            for _ in range(50):  # each that comes is asked for once or twice, and some may still be coming
                before, began = served.kernel.asked, time.monotonic()
                await trio.sleep(0.2)
                asked, seconds = served.kernel.asked - before, time.monotonic() - began
                most = (seconds / handover.LONGEST_PAUSE + 2) * (1 + handover.ASIDE_COUNT) * 2
                if asked <= most:
                    break
            assert asked <= most
            numbers = []
            for _ in streams:
                with await accepted(server) as connection:
                    numbers.append(int(await received(connection)))
            assert sorted(numbers) == list(range(300))


@in_session
async def test_listeners_that_share_a_port_do_not_wait_for_each_other() -> None:
    child = Child()
    with ExitStack() as ending, socket.create_server((POD, 0), reuse_port=True) as one:
        mapped = port_of(one)
        child.listening[mapped.child_port] = frozenset({POD})
        with socket.create_server((POD, mapped.child_port), reuse_port=True) as other:
            async with serving(child, mapped) as served:
                streams = [served.connect_in(80) for _ in range(40)]
                await until(lambda: child.sockets == len(streams))
                await trio.sleep(IGNORED)
                taken = accepted_now(other)
                for connection in taken:
                    ending.enter_context(connection)
                assert 0 < len(taken) < 40
                await until(lambda: sum(each.opened.done() for each in streams) == len(taken))
                one.close()
                other.close()
                for each in streams:
                    assert await opened(each) in {0, errno.ECONNREFUSED}
                assert sum(each.opened.result() == 0 for each in streams) == len(taken)


# --- the whole way, from a client of the pod to a child in its namespaces ------------------------------


class Whole:
    """The pod's own Inbound, joined to the laptop's by a mux in memory; clients come by the loopback."""

    def __init__(self) -> None:
        self.tunnel = MuxTunnel()
        self.tunnel.set_listening = self._told  # type: ignore[method-assign]
        self.pod = PodInbound(100, 30.0, lambda _: False)
        self.pod.client(self.tunnel.pair.pod)

    def _told(self, ports: frozenset[int]) -> None:
        self.pod.listening(ports)

    async def open(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.address = listener.getsockname()
        listener.setblocking(False)
        await in_asyncio(self.pod.serve, 80, listener)


def end_without_accepting(address: str) -> None:
    """A child that listens, is connected to, and ends, as an interpreter does that is already leaving."""
    with socket.create_server((address, 8080), family=family_of(address)) as server:
        select.select([server], [], [], 10)
        time.sleep(IGNORED)


def greet(address: str) -> None:
    """A child that answers with what it was sent."""
    with socket.create_server((address, 8080), family=family_of(address)) as server:
        while True:
            with server.accept()[0] as connection:
                connection.sendall(b"you said " + connection.recv(100))


def family_of(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def in_plain_session(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """As `in_session`, for tests that make namespaces: as a plain user, in a process of its own."""

    async def main() -> None:
        with trio.fail_after(20):
            await test()

    def run_it() -> None:
        run_as("plain", lambda: run(main))

    return run_it


@pytest.mark.parametrize("address", [POD_V4, POD_V6, "127.0.0.1"])
def test_what_a_child_that_died_had_not_accepted_is_answered_by_the_next_one(address: str) -> None:
    async def answered() -> None:
        async with entered(view()) as inside, trio.open_nursery() as nursery:
            assert inside.diagnosis is not None
            child = ChildNetwork(inside.socket, inside.listening_ports, (POD_V4, POD_V6), inside.diagnosis)
            whole = Whole()
            await whole.open()
            async with serve_inbound(nursery, (PortMap(80, 8080),), child) as inbound:
                inbound.attach(whole.tunnel.as_tunnel())
                start_joined(inside, lambda: end_without_accepting(address))
                await inbound.wait_listening()
                client = await in_asyncio(connect, whole.address, b"hello")
                await until(lambda: not inbound.served)
                start_joined(inside, lambda: greet(address))
                await until(client.eof.is_set)
                assert client.received == b"you said hello"
                client.transport.close()
            whole.pod.close()
            nursery.cancel_scope.cancel()

    in_plain_session(answered)()
