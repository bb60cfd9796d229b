"""The proxy between real clients and a pod that the test plays."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from telepresence_py.forward import proxying
from telepresence_py.forward.joining import Joints
from telepresence_py.forward.proxy_words import basic
from telepresence_py.forward.proxying import serve_proxy
from tests.fakes.loop import in_loop, until
from tests.fakes.sink import Recorder
from tests.telepresence_py.forward.worlds import MuxTunnel, connect

SECRET = "s3cret"
LOGIN = b"\x05\x01\x02\x01\x03who\x06s3cret"
LOGGED_IN = b"\x05\x02\x01\x00"
GRANTED = bytes((5, 0, 0, 1, 0, 0, 0, 0, 0, 0))
ORDERS = b"\x05\x01\x00\x03\x06orders\x1f\x90"


@asynccontextmanager
async def proxy(tunnel: MuxTunnel, fast: bool = False) -> AsyncIterator[tuple[tuple[str, int], Joints]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with serve_proxy([listener], SECRET, tunnel.as_tunnel, fast) as joints:
            yield listener.getsockname(), joints


def connect_head(target: str, secret: str = SECRET) -> bytes:
    return f"CONNECT {target} HTTP/1.1\r\nProxy-Authorization: {basic('who', secret)}\r\n\r\n".encode()


@in_loop
async def test_a_name_is_left_to_the_pod_and_bytes_flow_both_ways() -> None:
    tunnel = MuxTunnel()
    async with proxy(tunnel) as (address, _joints):
        client = await connect(address, LOGIN + ORDERS)
        await until(lambda: len(tunnel.pair.at_pod) == 1)
        stream = tunnel.pair.at_pod[0]
        assert (stream.opening.host, stream.opening.port) == ("orders", 8080)
        assert client.received == LOGGED_IN
        pod = Recorder()
        stream.accept()
        stream.set_protocol(pod)
        await until(lambda: client.received == LOGGED_IN + GRANTED)
        assert client.transport is not None
        client.transport.write(b"ping")
        await until(lambda: pod.received == b"ping")
        stream.write(b"pong")
        await until(lambda: client.received.endswith(b"pong"))
        client.transport.write_eof()
        await pod.eof.wait()


@in_loop
async def test_what_the_pod_refuses_is_told_and_the_next_request_works() -> None:
    tunnel = MuxTunnel()
    async with proxy(tunnel) as (address, joints):
        client = await connect(address, LOGIN + ORDERS)
        await until(lambda: len(tunnel.pair.at_pod) == 1)
        tunnel.pair.at_pod[0].refuse(errno.ECONNREFUSED)
        await client.eof.wait()
        assert client.received[len(LOGGED_IN) :][:2] == b"\x05\x05"
        assert client.transport is not None
        client.transport.close()
        await until(lambda: len(joints) == 0)
        await connect(address, connect_head("orders:80"))
        await until(lambda: len(tunnel.pair.at_pod) == 2)


@in_loop
async def test_a_fast_connection_stands_before_the_pod_has_answered() -> None:
    async with proxy(MuxTunnel(), fast=True) as (address, _joints):
        client = await connect(address, LOGIN + ORDERS)
        await until(lambda: client.received == LOGGED_IN + GRANTED)


@in_loop
async def test_who_does_not_know_the_password_opens_nothing() -> None:
    tunnel = MuxTunnel()
    async with proxy(tunnel) as (address, _joints):
        client = await connect(address, connect_head("orders:80", "guessed"))
        await client.eof.wait()
        assert client.received.startswith(b"HTTP/1.1 407 ")
        assert not tunnel.pair.at_pod


@in_loop
async def test_a_plain_request_travels_with_the_request_to_connect() -> None:
    tunnel = MuxTunnel()
    head = f"GET http://orders/x HTTP/1.1\r\nProxy-Authorization: {basic('who', SECRET)}\r\n\r\n".encode()
    async with proxy(tunnel) as (address, _joints):
        client = await connect(address, head)
        await until(lambda: len(tunnel.pair.at_pod) == 1)
        pod = Recorder()
        tunnel.pair.at_pod[0].set_protocol(pod)
        await until(lambda: pod.received == b"GET /x HTTP/1.1\r\nConnection: close\r\n\r\n")
        tunnel.pair.at_pod[0].accept()
        tunnel.pair.at_pod[0].write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await until(lambda: client.received == b"HTTP/1.1 204 No Content\r\n\r\n")


@in_loop
async def test_localhost_is_the_laptops() -> None:
    tunnel = MuxTunnel()
    with socket.create_server(("127.0.0.1", 0)) as theirs:

        def answer() -> None:
            with theirs.accept()[0] as accepted:
                accepted.sendall(b"the laptop's")

        answering = threading.Thread(target=answer)
        answering.start()
        async with proxy(tunnel) as (address, _joints):
            client = await connect(address, connect_head(f"localhost:{theirs.getsockname()[1]}"))
            await until(lambda: client.received.endswith(b"\r\n\r\nthe laptop's"))
        answering.join()
    assert not tunnel.pair.at_pod


@in_loop
async def test_a_port_of_localhost_that_nobody_has_is_refused() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        async with proxy(MuxTunnel()) as (address, _joints):
            client = await connect(address, connect_head(f"127.0.0.1:{nobody.getsockname()[1]}"))
            await client.eof.wait()
            assert client.received.startswith(b"HTTP/1.1 502 ")


@in_loop
async def test_the_end_of_the_service_resets_what_lives() -> None:
    tunnel = MuxTunnel()
    async with proxy(tunnel) as (address, _joints):
        client = await connect(address, LOGIN + ORDERS)
        await until(lambda: len(tunnel.pair.at_pod) == 1)
        tunnel.pair.at_pod[0].accept()
        await until(lambda: client.received.endswith(GRANTED))
    assert isinstance(await client.lost, ConnectionResetError)


def test_a_client_that_says_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxying, "ASKING_SECONDS", 0.01)

    @in_loop
    async def test() -> None:
        async with proxy(MuxTunnel()) as (address, _joints):
            client = await connect(address, b"\x05")
            assert isinstance(await client.lost, ConnectionResetError)

    test()


@in_loop
async def test_a_client_that_leaves_leaves_nothing_behind() -> None:
    async with proxy(MuxTunnel()) as (address, joints):
        client = await connect(address, b"GET http")
        await until(lambda: len(joints) == 1)
        assert client.transport is not None
        client.transport.abort()
        await until(lambda: len(joints) == 0)
        await asyncio.sleep(0)
