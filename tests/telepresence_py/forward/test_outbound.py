from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio

from telepresence_py.forward import accepting, choosing
from telepresence_py.forward.directions import ALL_TO_POD, Directions
from telepresence_py.forward.outbound import serve_outbound
from telepresence_py.forward.packets import Endpoint
from telepresence_py.model.rules import Way
from telepresence_py.tunnel.bridge import in_asyncio, run
from telepresence_py.tunnel.interface import MuxStream
from tests.fakes.loop import at_end, in_loop, until
from tests.fakes.sink import Recorder
from tests.telepresence_py.forward.worlds import CapturingListener, MuxTunnel, connect

ORDERS = ("10.96.0.10", 8080)


def pod_localhost(ports: set[int]) -> Directions:
    return replace(ALL_TO_POD, pod_localhost=ports)


class Echo(asyncio.Protocol):
    def __init__(self, greeting: bytes = b"") -> None:
        self._greeting = greeting

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        at_end.append(transport.abort)  # a busy machine tells of the other side's end when the loop is over
        if self._greeting:
            transport.write(self._greeting)

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)


@asynccontextmanager
async def echo_server(host: str = "127.0.0.1", greeting: bytes = b"") -> AsyncIterator[int]:
    """Its port. It closes its direction after the client did."""
    server = await asyncio.get_running_loop().create_server(lambda: Echo(greeting), host, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def opened_at_pod(tunnel: MuxTunnel, count: int = 1) -> MuxStream:
    await until(lambda: len(tunnel.pair.at_pod) >= count)
    return tunnel.pair.at_pod[count - 1]


async def reset_seen(client: Recorder) -> bool:
    return isinstance(await client.lost, ConnectionResetError)


async def connecting_is_reset(address: tuple[str, int]) -> bool:
    """Whether a connection ends by a reset without any byte, be it at once."""
    try:
        client = await connect(address)
    except ConnectionResetError:
        return True
    return await reset_seen(client) and not client.received


@in_loop
async def test_a_connection_is_opened_again_from_the_pod_to_where_the_child_meant() -> None:
    tunnel = MuxTunnel()
    with CapturingListener(ORDERS) as listener:
        async with serve_outbound([listener], [], tunnel.as_tunnel):
            client = await connect(listener.at, b"ping")
            stream = await opened_at_pod(tunnel)
            assert (stream.opening.host, stream.opening.port) == ORDERS
            pod = Recorder()
            stream.accept()
            stream.set_protocol(pod)
            await until(lambda: pod.received == b"ping")
            stream.write(b"pong")
            await until(lambda: client.received == b"pong")


@in_loop
async def test_bytes_that_are_already_there_travel_with_the_request() -> None:
    tunnel = MuxTunnel()
    with CapturingListener(ORDERS) as listener, socket.create_connection(listener.at) as child:
        child.sendall(b"GET / HTTP/1.1\r\n\r\n")
        async with serve_outbound([listener], [], tunnel.as_tunnel):
            stream = await opened_at_pod(tunnel)
            assert stream.opening.rest == b"GET / HTTP/1.1\r\n\r\n"


@in_loop
async def test_a_stream_that_ends_before_it_was_accepted_arrives_whole_with_its_end() -> None:
    tunnel = MuxTunnel()
    payload = os.urandom(200_000)
    with CapturingListener(ORDERS) as listener, socket.create_connection(listener.at) as child:
        child.sendall(payload)
        child.shutdown(socket.SHUT_WR)
        async with serve_outbound([listener], [], tunnel.as_tunnel):
            pod = Recorder()
            (await opened_at_pod(tunnel)).set_protocol(pod)
            await pod.eof.wait()
            assert pod.received == payload


@in_loop
async def test_a_destination_that_refuses_is_a_reset_and_the_next_one_works() -> None:
    tunnel = MuxTunnel()
    with CapturingListener(ORDERS) as listener:
        async with serve_outbound([listener], [], tunnel.as_tunnel) as joints:
            client = await connect(listener.at, b"ping")
            (await opened_at_pod(tunnel)).refuse(errno.ECONNREFUSED)
            assert await reset_seen(client)
            await until(lambda: len(joints) == 0)
            await connect(listener.at, b"ping")
            await opened_at_pod(tunnel, 2)


@in_loop
async def test_without_a_living_tunnel_connections_are_reset_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "PATIENCE_SECONDS", 0.1)
    with CapturingListener(ORDERS) as listener:
        async with serve_outbound([listener], [], lambda: None):
            assert await connecting_is_reset(listener.at)


@in_loop
async def test_connections_wait_with_their_bytes_for_the_next_tunnel() -> None:
    tunnels: list[MuxTunnel] = []
    with CapturingListener(ORDERS) as listener:
        async with serve_outbound([listener], [], lambda: next(iter(tunnels), None)) as joints:
            client = await connect(listener.at, b"ping")
            await until(lambda: len(joints) == 1)
            tunnels.append(MuxTunnel())
            stream = await opened_at_pod(tunnels[0])
            pod = Recorder()
            stream.set_protocol(pod)
            await until(lambda: pod.received == b"ping")
            assert not client.lost.done()


@in_loop
async def test_connections_that_wait_for_a_tunnel_end_with_the_service() -> None:
    with CapturingListener(ORDERS) as listener:
        async with serve_outbound([listener], [], lambda: None) as joints:
            client = await connect(listener.at)
            await until(lambda: len(joints) == 1)
        assert await reset_seen(client)


@in_loop
async def test_each_direction_ends_by_itself() -> None:
    tunnel = MuxTunnel()
    payload = os.urandom(300_000)
    async with echo_server() as port:
        tunnel.dial_from_pod(lambda _: ("127.0.0.1", port))
        with CapturingListener(ORDERS) as listener:
            async with serve_outbound([listener], [], tunnel.as_tunnel) as joints:
                client = await connect(listener.at, payload)
                assert client.transport is not None
                client.transport.write_eof()
                await client.eof.wait()
                assert client.received == payload
                client.transport.close()
                await until(lambda: len(joints) == 0)


@in_loop
async def test_a_pod_that_does_not_read_stops_the_child_and_nobody_else() -> None:
    tunnel = MuxTunnel()
    with CapturingListener(ORDERS) as listener:
        async with serve_outbound([listener], [], tunnel.as_tunnel):
            stalled = await connect(listener.at, b"x" * (32 << 20))
            stream = await opened_at_pod(tunnel)
            await connect(listener.at, b"ping")
            other = Recorder()
            (await opened_at_pod(tunnel, 2)).set_protocol(other)
            await until(lambda: other.received == b"ping")
            assert stalled.transport is not None
            assert stalled.transport.get_write_buffer_size() > 16 << 20
            reader = Recorder()
            stream.set_protocol(reader)
            await until(lambda: reader.size == 32 << 20)


@in_loop
async def test_hundreds_at_once_are_served_each_with_its_own_bytes() -> None:
    tunnel = MuxTunnel()
    async with echo_server() as port:
        tunnel.dial_from_pod(lambda _: ("127.0.0.1", port))
        with CapturingListener(ORDERS) as listener:
            async with serve_outbound([listener], [], tunnel.as_tunnel):
                clients = [await connect(listener.at, b"%d" % number) for number in range(200)]
                for number, client in enumerate(clients):
                    await until(lambda client=client, number=number: client.received == b"%d" % number)  # type: ignore[misc]


@in_loop
async def test_a_lack_of_descriptors_delays_connections_and_loses_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(accepting, "PAUSE_SECONDS", 0.01)
    tunnel = MuxTunnel()
    with CapturingListener(ORDERS) as listener:
        listener.errors += [OSError(errno.EMFILE, "EMFILE"), OSError(errno.ENOMEM, "ENOMEM")]
        listener.errors += [ConnectionAbortedError()]
        async with serve_outbound([listener], [], tunnel.as_tunnel):
            await connect(listener.at, b"ping")
            await opened_at_pod(tunnel)


@in_loop
async def test_the_end_of_the_service_resets_connections_and_leaves_the_listener() -> None:
    tunnel = MuxTunnel()
    with CapturingListener(ORDERS) as listener:
        async with serve_outbound([listener], [], tunnel.as_tunnel):
            client = await connect(listener.at, b"ping")
            await opened_at_pod(tunnel)
        assert await reset_seen(client)
        with socket.create_connection(listener.at):
            pass


@in_loop
async def test_localhost_is_the_laptops_and_a_server_that_speaks_first_is_heard() -> None:
    async with echo_server(greeting=b"220 hello\r\n") as port:
        with CapturingListener(("127.0.0.1", port)) as listener:
            async with serve_outbound([], [listener], lambda: None) as joints:
                client = await connect(listener.at, b"ping")
                await until(lambda: client.received == b"220 hello\r\nping")
                assert client.transport is not None
                client.transport.write_eof()
                await client.eof.wait()
                client.transport.close()
                await until(lambda: len(joints) == 0)


@pytest.mark.parametrize(("meant", "served"), [("::1", "127.0.0.1"), ("127.0.0.1", "::1")])
def test_localhost_is_found_in_the_other_family_too(meant: str, served: str) -> None:
    @in_loop
    async def found() -> None:
        async with echo_server(served) as port:
            with CapturingListener((meant, port)) as listener:
                async with serve_outbound([], [listener], lambda: None):
                    client = await connect(listener.at, b"ping")
                    await until(lambda: client.received == b"ping")

    found()


@in_loop
async def test_a_port_that_nobody_on_the_laptop_serves_is_a_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with CapturingListener(("127.0.0.1", port)) as listener:
        async with serve_outbound([], [listener], lambda: None):
            assert await connecting_is_reset(listener.at)


@in_loop
async def test_the_laptop_is_reached_at_its_loopback_only_and_by_the_child_only() -> None:
    async with echo_server() as port:
        with (
            CapturingListener(("192.0.2.1", port)) as elsewhere,
            CapturingListener(("127.0.0.1", port)) as here,
        ):
            async with serve_outbound([], [elsewhere], lambda: None):
                assert await connecting_is_reset(elsewhere.at)
            async with serve_outbound([], [here], lambda: None, refuse_from=lambda _: True):
                assert await connecting_is_reset(here.at)


@in_loop
async def test_what_a_rule_keeps_is_dialled_from_the_laptop_and_no_tunnel_is_needed() -> None:
    asked: list[Endpoint] = []

    def way(destination: Endpoint) -> Way:
        asked.append(destination)
        return Way.LAPTOP

    async with echo_server() as port:
        with CapturingListener(("127.0.0.1", port)) as listener:
            async with serve_outbound([listener], [], lambda: None, directions=Directions(way)) as joints:
                client = await connect(listener.at, b"ping")
                await until(lambda: client.received == b"ping")
                assert asked == [("127.0.0.1", port)]
                assert client.transport is not None
                client.transport.close()
                await until(lambda: len(joints) == 0)


@in_loop
async def test_a_kept_destination_that_refuses_is_a_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with CapturingListener(("127.0.0.1", port)) as listener:
        async with serve_outbound([listener], [], lambda: None, directions=Directions(lambda _: Way.LAPTOP)):
            assert await connecting_is_reset(listener.at)


@in_loop
async def test_what_is_never_to_be_reached_is_a_reset_and_no_tunnel_hears_of_it() -> None:
    tunnel = MuxTunnel()
    with CapturingListener(ORDERS) as listener:
        directions = Directions(lambda to: Way.NEVER if to == ORDERS else Way.TUNNEL)
        async with serve_outbound([listener], [], tunnel.as_tunnel, directions=directions):
            assert await connecting_is_reset(listener.at)
            assert not tunnel.pair.at_pod
            listener.meant = ("10.96.0.10", 8081)
            await connect(listener.at, b"ping")
            await opened_at_pod(tunnel)


@in_loop
async def test_queries_over_tcp_go_to_whom_the_directions_name() -> None:
    served: list[socket.socket] = []

    async def serve(connection: socket.socket) -> None:
        served.append(connection)
        connection.sendall(b"answer")
        connection.close()

    with CapturingListener(ORDERS) as listener:
        directions = Directions(lambda _: Way.NAMES, serve)
        async with serve_outbound([listener], [], lambda: None, directions=directions):
            client = await connect(listener.at)
            await until(lambda: client.received == b"answer")


@pytest.mark.parametrize(
    ("meant", "found_as"), [("127.0.0.1", "localhost"), ("::1", "localhost"), ("127.0.0.5", "127.0.0.5")]
)
def test_a_port_of_the_pods_localhost_is_opened_from_the_pod_in_either_family(
    meant: str, found_as: str
) -> None:
    @in_loop
    async def opened_there() -> None:
        tunnel = MuxTunnel()
        with CapturingListener((meant, 5432)) as listener:
            async with serve_outbound([], [listener], tunnel.as_tunnel, directions=pod_localhost({5432})):
                await connect(listener.at, b"ping")
                stream = await opened_at_pod(tunnel)
                assert (stream.opening.host, stream.opening.port) == (found_as, 5432)

    opened_there()


@in_loop
async def test_other_ports_than_those_of_the_pods_localhost_stay_the_laptops() -> None:
    tunnel = MuxTunnel()
    async with echo_server() as port:
        with CapturingListener(("127.0.0.1", port)) as listener:
            async with serve_outbound([], [listener], tunnel.as_tunnel, directions=pod_localhost({port + 1})):
                client = await connect(listener.at, b"ping")
                await until(lambda: client.received == b"ping")
                assert not tunnel.pair.at_pod


@in_loop
async def test_what_we_connect_ourselves_does_not_go_round_by_the_pods_localhost() -> None:
    tunnel = MuxTunnel()
    with CapturingListener(("127.0.0.1", 5432)) as listener:
        async with serve_outbound(
            [],
            [listener],
            tunnel.as_tunnel,
            lambda _: True,
            directions=pod_localhost({5432}),
        ):
            assert await connecting_is_reset(listener.at)
            assert not tunnel.pair.at_pod


def test_it_serves_under_trio_as_guest_of_asyncio() -> None:
    async def main() -> None:
        with trio.fail_after(10), CapturingListener(ORDERS) as listener:
            tunnel = MuxTunnel()
            async with serve_outbound([listener], [], tunnel.as_tunnel):
                client = await in_asyncio(connect, listener.at, b"ping")
                await in_asyncio(opened_at_pod, tunnel)
            assert await in_asyncio(reset_seen, client)

    run(main)
