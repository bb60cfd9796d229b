"""Raw DNS messages, asked of the pod's own name servers as its resolver would ask (resolv.conf(5), RFC
1035)."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from .contract.names import Inquiry
from .contract.stream import MuxStream
from .sockets import errno_of

TIMEOUT = 2.0
"""Seconds for one answer: less than the 5 s of the child's resolver, so that a second server has its
chance."""

ATTEMPTS = 2

NO_SUCH_NAME = 3
_TRY_NEXT = frozenset({2, 4, 5})
"""SERVFAIL, NOTIMP, REFUSED: glibc, too, goes on to the next server."""


def nameservers(resolv_conf: str) -> tuple[str, ...]:
    """The addresses of a resolv.conf, in order; the local host when it names none, as resolv.conf(5) says."""
    words = (line.split() for line in resolv_conf.splitlines())
    found = tuple(line[1] for line in words if len(line) > 1 and line[0] == "nameserver")
    return found or ("127.0.0.1",)


def answers(query: bytes, message: bytes) -> bool:
    """Whether `message` is a response with the query's id."""
    return len(message) >= 12 and message[:2] == query[:2] and bool(message[2] & 0x80)


def truncated(message: bytes) -> bool:
    return bool(message[2] & 0x02)


def response_code(message: bytes) -> int:
    return message[3] & 0x0F


@dataclass(frozen=True)
class Servers:
    """The pod's name servers. Each gets so many seconds; all are tried so often."""

    addresses: Sequence[str]
    timeout: float = TIMEOUT
    attempts: int = ATTEMPTS
    port: int = 53


async def answer_names(stream: MuxStream, servers: Servers) -> None:
    """An Inquiry: each answer is one datagram, and the last is the first that does not deny its name."""
    inquiry = Inquiry.of(stream.opening)
    answered = False
    try:
        for query in inquiry.queries():
            message = await resolve(query, servers, inquiry.whole)
            stream.write(message)
            answered = True
            if response_code(message) != NO_SUCH_NAME:
                break
    except (OSError, ValueError) as error:  # what has been said stays said; the asker may ask for the rest
        if not answered:
            stream.refuse(errno_of(error) if isinstance(error, OSError) else errno.EINVAL)
            return
    stream.close()


async def resolve(query: bytes, servers: Servers, whole: bool = True) -> bytes:
    """The first useful answer, else the last useless one. OSError: ETIMEDOUT when no server answers, EINVAL
    when the query is none. With `whole` a truncated one is asked for again over TCP."""
    if len(query) < 12:
        raise OSError(errno.EINVAL, "not a DNS message")
    last = b""
    for _ in range(servers.attempts):
        for server in servers.addresses:
            try:
                async with asyncio.timeout(servers.timeout):
                    message = await _ask_udp(query, server, servers.port)
                    if whole and truncated(message):
                        message = await _ask_tcp(query, server, servers.port)
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                continue
            if response_code(message) not in _TRY_NEXT:
                return message
            last = message
    if not last:
        raise OSError(errno.ETIMEDOUT, "no name server answers")
    return last


class _Asking(asyncio.DatagramProtocol):
    def __init__(self, query: bytes, answer: asyncio.Future[bytes]) -> None:
        self._query = query
        self._answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.DatagramTransport, transport).sendto(self._query)

    def datagram_received(self, data: bytes, addr: object) -> None:
        if answers(self._query, data) and not self._answer.done():
            self._answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self._answer.done():
            self._answer.set_exception(exc)


async def _ask_udp(query: bytes, server: str, port: int) -> bytes:
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[bytes] = loop.create_future()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: _Asking(query, answer), remote_addr=(server, port)
    )
    try:
        return await answer
    finally:
        transport.close()


async def _ask_tcp(query: bytes, server: str, port: int) -> bytes:
    reader, writer = await asyncio.open_connection(server, port)
    try:
        writer.write(len(query).to_bytes(2, "big") + query)
        message = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
    finally:
        writer.close()
    if not answers(query, message):
        raise OSError(errno.EPROTO, "an answer to another question")
    return message
