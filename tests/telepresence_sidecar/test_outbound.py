"""What conformance does not reach: idle flows, dials given up, peers that speak first."""

from __future__ import annotations

import asyncio
import errno
import socket

from telepresence_sidecar.contract.frames import Kind, Opening
from telepresence_sidecar.contract.stream import MuxStream
from telepresence_sidecar.outbound import connect, datagrams
from tests.fakes.loop import in_loop, until
from tests.fakes.sink import Recorder
from tests.fakes.wire import MuxPair


async def opened(kind: Kind, host: str, port: int) -> tuple[MuxStream, Recorder, MuxStream]:
    pair = MuxPair()
    near, recorder = pair.laptop.open(Opening(kind, host, port)), Recorder()
    near.set_protocol(recorder)
    await until(lambda: bool(pair.at_pod))
    return near, recorder, pair.at_pod[0]


@in_loop
async def test_a_flow_that_nobody_uses_ends_with_a_timeout() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        _, recorder, stream = await opened(Kind.UDP, *peer.getsockname())
        await datagrams(stream, idle_seconds=0.05)
        reason = await recorder.lost
        assert isinstance(reason, OSError)
        assert reason.errno == errno.ETIMEDOUT


@in_loop
async def test_a_peer_that_speaks_first_is_heard_whole() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        near, recorder, stream = await opened(Kind.TCP, *server.sockets[0].getsockname())
        await asyncio.gather(connect(stream))
        await recorder.eof.wait()
        assert recorder.received == b"220 ready\r\n"
        assert await near.opened == 0
        near.close()


@in_loop
async def test_a_dial_that_the_laptop_gave_up_is_cancelled() -> None:
    near, _, stream = await opened(Kind.TCP, "192.0.2.1", 9)
    dial = asyncio.get_running_loop().create_task(connect(stream))
    await asyncio.sleep(0)
    near.abort()
    await asyncio.wait([dial])
    assert dial.cancelled() or stream.is_closing()


@in_loop
async def test_a_name_that_does_not_resolve_is_an_unreachable_host() -> None:
    near, _, stream = await opened(Kind.TCP, "name.invalid", 80)
    await asyncio.gather(connect(stream))
    assert await near.opened == errno.EHOSTUNREACH
