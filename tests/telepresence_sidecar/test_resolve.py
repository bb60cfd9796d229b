from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from typing import Any, cast

import pytest

from telepresence_sidecar.contract.names import Inquiry
from telepresence_sidecar.resolve import Servers, answer_names, nameservers, resolve
from tests.fakes.loop import in_loop

QUERY = b"\x12\x34\x01\x00\x00\x01" + bytes(6) + b"\x03www\x00\x00\x01\x00\x01"


def answer(query: bytes, code: int = 0, truncated: bool = False, rest: bytes = b"") -> bytes:
    return query[:2] + bytes([0x80 | (2 if truncated else 0), code]) + query[4:] + rest


class NameServer(asyncio.DatagramProtocol):
    """Answers over UDP as told, over TCP with one long answer."""

    def __init__(self, udp: Callable[[int, bytes], list[bytes]]) -> None:
        self.asked = 0
        self._udp = udp

    async def start(self, address: str, port: int = 0) -> int:
        loop = asyncio.get_running_loop()
        while True:
            self.udp, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(address, port))
            bound = int(self.udp.get_extra_info("sockname")[1])
            try:
                self.tcp = await asyncio.start_server(self._tcp, address, bound)
            except OSError:  # somebody has that number for TCP
                self.udp.close()
                if port:
                    raise
            else:
                return bound

    def stop(self) -> None:
        self.udp.close()
        self.tcp.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.asked += 1
        for message in self._udp(self.asked, data):
            self.udp.sendto(message, addr)

    async def _tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        query = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        message = answer(query, rest=bytes(60_000))
        writer.write(len(message).to_bytes(2, "big") + message)
        writer.close()


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("search a b\nnameserver 10.0.0.10\noptions ndots:5\nnameserver fd00::a\n", ("10.0.0.10", "fd00::a")),
        ("# nameserver 1.1.1.1\n", ("127.0.0.1",)),
        ("nameserver\n", ("127.0.0.1",)),
    ],
)
def test_name_servers_are_read_as_resolv_conf_says(text: str, servers: tuple[str, ...]) -> None:
    assert nameservers(text) == servers


@in_loop
async def test_an_answer_comes_back_as_it_is() -> None:
    server = NameServer(
        lambda n, query: [b"noise", answer(b"\x99\x99" + query[2:]), answer(query, rest=b"!")]
    )
    port = await server.start("127.0.0.1")
    assert await resolve(QUERY, Servers(["127.0.0.1"], port=port)) == answer(QUERY, rest=b"!")
    server.stop()


@in_loop
async def test_a_lost_question_is_asked_again() -> None:
    server = NameServer(lambda n, query: [answer(query)] if n == 2 else [])
    port = await server.start("127.0.0.1")
    assert await resolve(QUERY, Servers(["127.0.0.1"], 0.5, port=port)) == answer(QUERY)
    server.stop()


@in_loop
async def test_the_next_server_is_asked_when_one_is_silent_absent_or_failing() -> None:
    failing = NameServer(lambda n, query: [answer(query, code=2)])
    port = await failing.start("127.0.0.1")
    good = NameServer(lambda n, query: [answer(query, code=3)])
    await good.start("127.0.0.2", port)
    servers = ["127.0.0.3", "127.0.0.1", "127.0.0.2"]
    assert await resolve(QUERY, Servers(servers, 0.5, port=port)) == answer(QUERY, code=3)
    assert failing.asked == 1
    failing.stop()
    good.stop()


@in_loop
async def test_when_all_fail_the_failure_itself_is_the_answer() -> None:
    failing = NameServer(lambda n, query: [answer(query, code=2)])
    port = await failing.start("127.0.0.1")
    assert await resolve(QUERY, Servers(["127.0.0.1"], 0.5, port=port)) == answer(QUERY, code=2)
    failing.stop()


@in_loop
async def test_a_truncated_answer_is_asked_again_over_tcp() -> None:
    server = NameServer(lambda n, query: [answer(query, truncated=True)])
    port = await server.start("127.0.0.1")
    assert await resolve(QUERY, Servers(["127.0.0.1"], port=port)) == answer(QUERY, rest=bytes(60_000))
    server.stop()


@in_loop
async def test_an_asker_over_udp_has_the_truncated_answer_as_it_is() -> None:
    server = NameServer(lambda n, query: [answer(query, truncated=True, rest=b"some")])
    port = await server.start("127.0.0.1")
    expected = answer(QUERY, truncated=True, rest=b"some")
    assert await resolve(QUERY, Servers(["127.0.0.1"], port=port), whole=False) == expected
    server.stop()


class Heard:
    """A stream of the DNS kind, as far as it is spoken to."""

    def __init__(self, inquiry: Inquiry) -> None:
        self.opening = inquiry.opening()
        self.said: list[bytes | int | str] = []

    def write(self, message: bytes) -> None:
        self.said.append(message)

    def refuse(self, error: int) -> None:
        self.said.append(error)

    def close(self) -> None:
        self.said.append("closed")


async def said(inquiry: Inquiry, codes: list[int | None]) -> list[bytes | int | str]:
    """By a name server that answers with these codes, one after the other, and with none to None."""

    def udp(asked: int, query: bytes) -> list[bytes]:
        code = codes[asked - 1]
        return [] if code is None else [answer(query, code=code)]

    server, stream = NameServer(udp), Heard(inquiry)
    port = await server.start("127.0.0.1")
    patience = 0.1 if None in codes else 10.0
    await answer_names(cast(Any, stream), Servers(["127.0.0.1"], patience, 1, port))
    server.stop()
    assert server.asked == len(codes)
    return stream.said


@in_loop
async def test_the_names_behind_the_first_are_asked_for_until_one_is_not_denied() -> None:
    inquiry = Inquiry(QUERY, 1, ("svc", "lan", "."))
    queries = list(inquiry.queries())
    told = await said(inquiry, [3, 3, 0])
    assert told == [*(answer(q, code=c) for q, c in zip(queries, [3, 3, 0], strict=False)), "closed"]
    assert await said(inquiry, [0]) == [answer(QUERY), "closed"]


@in_loop
async def test_a_name_server_that_falls_silent_ends_the_walk_and_takes_back_nothing() -> None:
    assert await said(Inquiry(QUERY, 1, ("svc", "lan")), [3, None]) == [answer(QUERY, code=3), "closed"]


@in_loop
async def test_without_any_answer_the_asker_is_told_why() -> None:
    assert await said(Inquiry(QUERY, 1, ("svc",)), [None]) == [errno.ETIMEDOUT]
    assert await said(Inquiry(b"abc", 1, ("svc",)), []) == [errno.EINVAL]
    assert await said(Inquiry(QUERY, 7, ("svc",)), [3]) == [answer(QUERY, code=3), "closed"]


@in_loop
async def test_silence_is_a_timeout() -> None:
    server = NameServer(lambda n, query: [])
    port = await server.start("127.0.0.1")
    with pytest.raises(OSError, match="no name server answers") as caught:
        await resolve(QUERY, Servers(["127.0.0.1"], 0.05, port=port))
    assert caught.value.errno == errno.ETIMEDOUT
    server.stop()


@in_loop
async def test_what_is_no_query_is_not_asked() -> None:
    with pytest.raises(OSError, match="not a DNS message"):
        await resolve(b"abc", Servers(["127.0.0.1"]))
