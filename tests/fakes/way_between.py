"""What may stand between a client and the API server: a relay, an HTTP CONNECT proxy, a SOCKS5 proxy."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ipaddress
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field

LOGIN = ("me", "pass:w@rd")
"""Whom the proxies let through."""

Welcome = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[str]]


@dataclass
class Between:
    """A server that passes every connection on to one place; `wanted` is where its clients asked to go to."""

    port: int
    wanted: list[str] = field(default_factory=list)


@contextlib.contextmanager
def relay(target: tuple[str, int], address: str) -> Iterator[Between]:
    """On an address of this machine."""

    async def welcome(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> str:
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

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            between.wanted.append(await welcome(reader, writer))
            onward_reader, onward_writer = await asyncio.open_connection(*target)
            await asyncio.gather(_pump(reader, onward_writer), _pump(onward_reader, writer))
        except (OSError, ValueError, EOFError):
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, address, 0, ssl=tls)
        between.port = server.sockets[0].getsockname()[1]
        begun.set_result(asyncio.get_running_loop())
        await ended.wait()
        server.close()

    begun: Future[asyncio.AbstractEventLoop] = Future()
    ended = asyncio.Event()
    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    loop = begun.result(10)
    try:
        yield between
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    method, wanted, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    login = base64.b64encode(":".join(LOGIN).encode()).decode()
    if method != "CONNECT" or headers.get("proxy-authorization") != f"Basic {login}":
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        raise ValueError(f"{method} without a login")
    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    return wanted


async def _socks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    async def exactly(count: int) -> bytes:
        return await reader.readexactly(count)

    async def counted() -> str:
        return (await exactly((await exactly(1))[0])).decode()

    version, count = await exactly(2)
    if version != 5 or 2 not in await exactly(count):
        raise ValueError("no SOCKS5 with a login")
    writer.write(b"\x05\x02")
    await exactly(1)
    right = (await counted(), await counted()) == LOGIN
    writer.write(b"\x01\0" if right else b"\x01\1")
    if not right:
        raise ValueError("another login")
    kind = (await exactly(4))[3]
    host = await counted() if kind == 3 else str(ipaddress.ip_address(await exactly(4 if kind == 1 else 16)))
    port = int.from_bytes(await exactly(2), "big")
    writer.write(b"\x05\0\0\x01\0\0\0\0\0\0")
    return f"{host}:{port}"
