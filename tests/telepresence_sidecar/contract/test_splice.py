from __future__ import annotations

import asyncio
import errno

from telepresence_sidecar.contract.frames import Kind, Opening
from telepresence_sidecar.contract.splice import Splice, reset
from telepresence_sidecar.contract.stream import MuxStream
from tests.fakes.loop import in_loop, until
from tests.fakes.sink import Recorder
from tests.fakes.wire import MuxPair


async def tcp_pair() -> tuple[asyncio.Transport, Recorder, asyncio.Transport, Recorder]:
    """Two ends of one TCP connection over loopback: near, far."""
    loop = asyncio.get_running_loop()
    accepted: list[Recorder] = []

    def factory() -> Recorder:
        accepted.append(Recorder())
        return accepted[-1]

    async with await loop.create_server(factory, "127.0.0.1", 0) as server:
        address = server.sockets[0].getsockname()
        near, near_recorder = await loop.create_connection(Recorder, *address)
        await until(lambda: bool(accepted) and accepted[0].transport is not None)
    assert accepted[0].transport is not None
    return near, near_recorder, accepted[0].transport, accepted[0]


class Line:
    """socket =(TCP)= spliced socket = mux stream ... mux stream = recorder."""

    async def make(self) -> Line:
        self.pair = MuxPair()
        self.socket, self.socket_heard, spliced, _ = await tcp_pair()
        near = self.pair.laptop.open(Opening(Kind.TCP, "x", 1))
        self.splice = Splice(spliced, near).start()
        await until(lambda: bool(self.pair.at_pod))
        self.stream: MuxStream = self.pair.at_pod[0]
        self.stream_heard = Recorder()
        self.stream.set_protocol(self.stream_heard)
        return self


@in_loop
async def test_bytes_pass_both_ways_and_an_orderly_end_is_told_as_one() -> None:
    line = await Line().make()
    line.socket.write(b"question")
    line.socket.write_eof()
    await line.stream_heard.eof.wait()
    line.stream.write(b"answer")
    line.stream.close()
    await line.socket_heard.eof.wait()
    assert (line.stream_heard.received, line.socket_heard.received) == (b"question", b"answer")
    assert await line.splice.done is None
    line.socket.close()


@in_loop
async def test_half_close_passes_in_the_other_direction_too() -> None:
    line = await Line().make()
    line.stream.write(b"all")
    line.stream.write_eof()
    await line.socket_heard.eof.wait()
    line.socket.write(b"still listening?")
    await until(lambda: line.stream_heard.received == b"still listening?")
    line.socket.close()
    assert await line.splice.done is None


@in_loop
async def test_a_reset_of_the_stream_becomes_a_reset_of_the_socket() -> None:
    line = await Line().make()
    line.stream.abort(errno.ECONNRESET)
    assert isinstance(await line.socket_heard.lost, ConnectionResetError)
    assert isinstance(await line.splice.done, OSError)


@in_loop
async def test_a_reset_of_the_socket_becomes_a_reset_of_the_stream() -> None:
    line = await Line().make()
    reset(line.socket)
    reason = await line.stream_heard.lost
    assert isinstance(reason, OSError)
    assert reason.errno == errno.ECONNRESET
    assert isinstance(await line.splice.done, OSError)


@in_loop
async def test_a_lost_tunnel_resets_the_socket() -> None:
    line = await Line().make()
    line.pair.laptop.abort()
    assert isinstance(await line.socket_heard.lost, ConnectionResetError)


@in_loop
async def test_a_reader_that_stalls_stops_the_writer_and_memory_stays_bounded() -> None:
    line = await Line().make()
    line.stream.pause_reading()
    sent = 0
    while not line.socket_heard.paused:
        line.socket.write(bytes(1 << 16))
        sent += 1 << 16
        await asyncio.sleep(0)
        assert sent < 64 << 20
    line.stream.resume_reading()
    line.socket.write_eof()
    await line.stream_heard.eof.wait()
    assert line.stream_heard.size == sent
    line.splice.abort()


@in_loop
async def test_a_socket_that_stalls_stops_the_stream() -> None:
    line = await Line().make()
    line.socket.pause_reading()
    line.stream.write(bytes(32 << 20))
    await until(lambda: line.stream_heard.paused)
    before = -1
    while line.stream.get_write_buffer_size() != before:  # until nothing moves any more
        before = line.stream.get_write_buffer_size()
        for _ in range(200):
            await asyncio.sleep(0)
    assert before > 10 << 20
    line.socket.resume_reading()
    await until(lambda: line.socket_heard.size == 32 << 20)
    line.splice.abort()


@in_loop
async def test_two_sockets_can_be_spliced() -> None:
    left, left_heard, left_spliced, _ = await tcp_pair()
    right, right_heard, right_spliced, _ = await tcp_pair()
    splice = Splice(left_spliced, right_spliced).start()
    left.write(b"ping")
    left.write_eof()
    await right_heard.eof.wait()
    right.write(b"pong")
    right.close()
    await left_heard.eof.wait()
    assert (right_heard.received, left_heard.received) == (b"ping", b"pong")
    assert await splice.done is None
    left.close()
