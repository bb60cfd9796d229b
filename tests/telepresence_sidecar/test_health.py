from __future__ import annotations

import asyncio
import contextlib

import pytest

from telepresence_sidecar.health import Health
from tests.fakes.loop import in_loop


async def ask(health: Health, request: bytes) -> bytes:
    async with await asyncio.get_running_loop().create_server(health.protocol, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        try:
            for byte in request:  # a request may come in any pieces
                writer.write(bytes([byte]))
                await asyncio.sleep(0)
            return await reader.read()
        finally:
            writer.transport.abort()


@pytest.mark.parametrize(("ready", "status"), [(True, b"200 OK"), (False, b"503 Service Unavailable")])
@in_loop
async def test_a_probe_hears_what_was_told(ready: bool, status: bytes) -> None:
    health = Health(patience_seconds=0.0)
    health.ready = ready
    answer = await ask(health, b"GET /healthz HTTP/1.1\r\nHost: pod\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 " + status + b"\r\n")
    assert answer.endswith(b"\r\n\r\n" + status[4:] + b"\n")


@in_loop
async def test_a_probe_that_came_too_early_hears_at_once_when_it_is_time() -> None:
    health = Health(patience_seconds=60.0)
    early = asyncio.ensure_future(ask(health, b"GET / HTTP/1.1\r\n\r\n"))
    async with asyncio.timeout(5):
        while not health.waiting:  # noqa: ASYNC110 - it sets no event
            await asyncio.sleep(0)
        health.ready = True
        assert (await early).startswith(b"HTTP/1.1 200 OK\r\n")
    assert health.waiting == 0


@in_loop
async def test_a_kubelet_that_does_not_wait_any_longer_is_forgotten() -> None:
    health = Health(patience_seconds=60.0)
    early = asyncio.ensure_future(ask(health, b"GET / HTTP/1.1\r\n\r\n"))
    async with asyncio.timeout(5):
        while not health.waiting:  # noqa: ASYNC110 - it sets no event
            await asyncio.sleep(0)
        early.cancel()
        while health.waiting:  # noqa: ASYNC110 - it sets no event
            await asyncio.sleep(0)
        with contextlib.suppress(asyncio.CancelledError):
            await early


@in_loop
async def test_head_has_no_body() -> None:
    assert (await ask(Health(0.0), b"HEAD / HTTP/1.1\r\n\r\n")).endswith(b"\r\n\r\n")


@in_loop
async def test_an_endless_request_is_cut() -> None:
    health = Health()
    async with await asyncio.get_running_loop().create_server(health.protocol, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"GET /" + b"x" * 20_000)
        assert await reader.read() == b""
        writer.close()
