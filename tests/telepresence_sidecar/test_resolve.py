from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable

import pytest

from telepresence_sidecar.resolve import nameservers, resolve
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
    assert await resolve(QUERY, ["127.0.0.1"], port=port) == answer(QUERY, rest=b"!")
    server.stop()


@in_loop
async def test_a_lost_question_is_asked_again() -> None:
    server = NameServer(lambda n, query: [answer(query)] if n == 2 else [])
    port = await server.start("127.0.0.1")
    assert await resolve(QUERY, ["127.0.0.1"], timeout=0.5, port=port) == answer(QUERY)
    server.stop()


@in_loop
async def test_the_next_server_is_asked_when_one_is_silent_absent_or_failing() -> None:
    failing = NameServer(lambda n, query: [answer(query, code=2)])
    port = await failing.start("127.0.0.1")
    good = NameServer(lambda n, query: [answer(query, code=3)])
    await good.start("127.0.0.2", port)
    servers = ["127.0.0.3", "127.0.0.1", "127.0.0.2"]
    assert await resolve(QUERY, servers, timeout=0.5, port=port) == answer(QUERY, code=3)
    assert failing.asked == 1
    failing.stop()
    good.stop()


@in_loop
async def test_when_all_fail_the_failure_itself_is_the_answer() -> None:
    failing = NameServer(lambda n, query: [answer(query, code=2)])
    port = await failing.start("127.0.0.1")
    assert await resolve(QUERY, ["127.0.0.1"], timeout=0.5, port=port) == answer(QUERY, code=2)
    failing.stop()


@in_loop
async def test_a_truncated_answer_is_asked_again_over_tcp() -> None:
    server = NameServer(lambda n, query: [answer(query, truncated=True)])
    port = await server.start("127.0.0.1")
    assert await resolve(QUERY, ["127.0.0.1"], port=port) == answer(QUERY, rest=bytes(60_000))
    server.stop()


@in_loop
async def test_silence_is_a_timeout() -> None:
    server = NameServer(lambda n, query: [])
    port = await server.start("127.0.0.1")
    with pytest.raises(OSError, match="no name server answers") as caught:
        await resolve(QUERY, ["127.0.0.1"], timeout=0.05, port=port)
    assert caught.value.errno == errno.ETIMEDOUT
    server.stop()


@in_loop
async def test_what_is_no_query_is_not_asked() -> None:
    with pytest.raises(OSError, match="not a DNS message"):
        await resolve(b"abc", ["127.0.0.1"])
