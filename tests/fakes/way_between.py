"""What may stand between a client and the API server: a relay, an HTTP CONNECT proxy, a SOCKS5 proxy."""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

import trio

LOGIN = ("me", "pass:w@rd")
"""Whom the proxies let through."""


class _Client:
    """What a client sends, in the pieces that a protocol speaks of."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._read = bytearray()

    async def exactly(self, count: int) -> bytes:
        while len(self._read) < count:
            await self._more()
        return self._take(count)

    async def until(self, mark: bytes) -> bytes:
        while mark not in self._read:
            await self._more()
        return self._take(self._read.index(mark) + len(mark))

    async def answer(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def _more(self) -> None:
        data = await self.stream.receive_some()
        if not data:
            raise EOFError("a client left in the middle of a sentence")
        self._read += data

    def _take(self, count: int) -> bytes:
        taken = bytes(self._read[:count])
        del self._read[:count]
        return taken


Welcome = Callable[[_Client], Awaitable[str]]


@dataclass
class Between:
    """A server that passes every connection on to one place; `wanted` is where its clients asked to go to."""

    port: int
    wanted: list[str] = field(default_factory=list)


@contextlib.contextmanager
def relay(target: tuple[str, int], address: str) -> Iterator[Between]:
    """On an address of this machine."""

    async def welcome(_client: _Client) -> str:
        return ""

    with _between(target, welcome, address) as between:
        yield between


@contextlib.contextmanager
def connect_proxy(target: tuple[str, int], tls: ssl.SSLContext | None = None) -> Iterator[Between]:
    """RFC 9110, 9.3.6, on 127.0.0.1; asks for LOGIN. With `tls` an https:// proxy."""
    with _between(target, _connect, tls=tls) as between:
        yield between


@contextlib.contextmanager
def socks_proxy(target: tuple[str, int]) -> Iterator[Between]:
    """RFC 1928 with RFC 1929, on 127.0.0.1; asks for LOGIN."""
    with _between(target, _socks) as between:
        yield between


@contextlib.contextmanager
def _between(
    target: tuple[str, int], welcome: Welcome, address: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> Iterator[Between]:
    between = Between(0)
    begun: Future[Callable[[], None]] = Future()

    async def serve(stream: trio.abc.Stream) -> None:
        client = _Client(
            trio.SSLStream(stream, tls, server_side=True, https_compatible=True) if tls else stream
        )
        with contextlib.suppress(OSError, ValueError, EOFError, trio.BrokenResourceError):
            between.wanted.append(await welcome(client))
            async with await trio.open_tcp_stream(*target) as onward, trio.open_nursery() as nursery:
                nursery.start_soon(_pump, client.stream, onward, nursery.cancel_scope)
                nursery.start_soon(_pump, onward, client.stream, nursery.cancel_scope)

    async def main() -> None:
        listeners = await trio.open_tcp_listeners(0, host=address)
        between.port = listeners[0].socket.getsockname()[1]
        token = trio.lowlevel.current_trio_token()
        with trio.CancelScope() as scope:
            begun.set_result(lambda: token.run_sync_soon(scope.cancel))
            await trio.serve_listeners(serve, listeners)

    thread = threading.Thread(target=lambda: trio.run(main), daemon=True)
    thread.start()
    end = begun.result(10)
    try:
        yield between
    finally:
        end()
        thread.join(10)


async def _pump(source: trio.abc.Stream, sink: trio.abc.Stream, both: trio.CancelScope) -> None:
    """Whoever ends, ends the other way too: TLS and HTTP close as a whole."""
    with contextlib.suppress(trio.BrokenResourceError):
        async for data in source:
            await sink.send_all(data)
    both.cancel()


async def _connect(client: _Client) -> str:
    first, *lines = (await client.until(b"\r\n\r\n")).decode().split("\r\n")
    method, wanted, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    login = base64.b64encode(":".join(LOGIN).encode()).decode()
    if method != "CONNECT" or headers.get("proxy-authorization") != f"Basic {login}":
        await client.answer(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        raise ValueError(f"{method} without a login")
    await client.answer(b"HTTP/1.1 200 Connection established\r\n\r\n")
    return wanted


async def _socks(client: _Client) -> str:
    async def counted() -> str:
        return (await client.exactly((await client.exactly(1))[0])).decode()

    version, count = await client.exactly(2)
    if version != 5 or 2 not in await client.exactly(count):
        raise ValueError("no SOCKS5 with a login")
    await client.answer(b"\x05\x02")
    await client.exactly(1)
    right = (await counted(), await counted()) == LOGIN
    await client.answer(b"\x01\0" if right else b"\x01\1")
    if not right:
        raise ValueError("another login")
    kind = (await client.exactly(4))[3]
    host = (
        await counted()
        if kind == 3
        else str(ipaddress.ip_address(await client.exactly(4 if kind == 1 else 16)))
    )
    port = int.from_bytes(await client.exactly(2), "big")
    await client.answer(b"\x05\0\0\x01\0\0\0\0\0\0")
    return f"{host}:{port}"
