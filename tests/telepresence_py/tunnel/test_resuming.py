"""A link that is cut, swallows what it gets, or is refused for a time, over real SSH to a sidecar process."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from telepresence_py.model.errors import ClusterUnreachable, NoRights, SessionLost
from telepresence_py.tunnel import line
from telepresence_py.tunnel.bridge import in_asyncio, run
from telepresence_py.tunnel.connection import open_tunnel_over
from telepresence_py.tunnel.interface import MuxStream, Tunnel
from telepresence_py.tunnel.keys import SessionKey
from telepresence_py.tunnel.websocket import DialFailed
from telepresence_sidecar.contract import CONNECTED_LOG_PREFIX, LOST_LOG_PREFIX
from tests.fakes.loop import at_end, settle
from tests.fakes.sidecar_process import SidecarProcess, sidecar_process
from tests.fakes.sink import Recorder

KEY = SessionKey.generate()
PATIENCE = 20.0


class Swallowing(asyncio.Protocol):
    """Between a socket and what speaks SSH: passes bytes on, or lets them vanish."""

    def __init__(self, inner: asyncio.Protocol, way: BadWay) -> None:
        self.inner = inner
        self.way = way
        self.swallows = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self.swallows:
            return
        self.inner.data_received(data)
        self.way.passed += len(data)
        if self.way.cut_after is not None and self.way.passed >= self.way.cut_after:
            self.way.cut_after = None
            self.way.cut()

    def pause_writing(self) -> None:
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        self.inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self.inner.connection_lost(exc)


class BadWay:
    """To a sidecar process. `errors` are raised by the dials to come, one by one; then so many are
    `unanswered`. It is `stuck` when it is not even known where to dial."""

    def __init__(self, sidecar: SidecarProcess) -> None:
        self.dials = 0
        self.passed = 0
        self.cut_after: int | None = None
        self.errors: list[Exception] = []
        self.stuck = False
        self.unanswered = 0
        self._sidecar = sidecar
        self._ways: list[Swallowing] = []

    async def connect(self, factory: Callable[[], asyncio.Protocol]) -> asyncio.Protocol:
        self.dials += 1
        if self.errors:
            raise self.errors.pop(0)
        if self.stuck:
            await asyncio.sleep(3600)
        inner = factory()
        if self.unanswered:
            self.unanswered -= 1
            await asyncio.sleep(3600)
        last = Swallowing(inner, self)
        self._ways.append(last)
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: last, "127.0.0.1", self._sidecar.config.tunnel_port)
        return inner

    def cut(self) -> None:
        """All connections: the second, for what is much, too."""
        for way in self._ways:
            way.transport.abort()
        self._ways.clear()

    def swallow(self) -> None:
        for way in self._ways:
            way.swallows = True

    def swallow_last(self) -> None:
        self._ways[-1].swallows = True


@asynccontextmanager
async def tunnel_to(
    sidecar: SidecarProcess, patience: float = PATIENCE
) -> AsyncIterator[tuple[Tunnel, BadWay]]:
    way = BadWay(sidecar)
    async with open_tunnel_over(way.connect, KEY, sidecar.fingerprint, 10, patience) as tunnel:
        yield tunnel, way


def over(main: Callable[[SidecarProcess], Coroutine[Any, Any, None]], grace: float = 30.0) -> str:
    """Runs it with a sidecar; returns what the sidecar's log said after its key."""
    log = ""

    async def in_time() -> None:
        nonlocal log
        with trio.fail_after(60), sidecar_process(KEY.public_line, grace=grace) as sidecar:
            await main(sidecar)
            await in_asyncio(settle)
            sidecar.process.kill()
            log = sidecar.log.read()

    run(in_time)
    return log


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - asyncio sets no trio event
        await trio.sleep(0.005)


async def echo_server() -> int:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        at_end.append(writer.transport.abort)
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await in_asyncio(lambda: asyncio.start_server(echo, "127.0.0.1", 0))
    at_end.append(server.close)
    return int(server.sockets[0].getsockname()[1])


async def opened(stream: MuxStream) -> int:
    async def wait() -> int:
        return await stream.opened

    return await in_asyncio(wait)


async def send(stream: MuxStream, recorder: Recorder, data: bytes) -> None:
    for position in range(0, len(data), 100_000):
        stream.write(data[position : position + 100_000])
        await until(lambda: not recorder.paused)
    stream.write_eof()


async def bulk_both_ways(tunnel: Tunnel, port: int, data: bytes) -> None:
    """Through an echo in the pod; what comes back is what was sent."""
    stream, heard = tunnel.open("127.0.0.1", port), Recorder()
    stream.set_protocol(heard)
    await send(stream, heard, data)
    await until(lambda: heard.eof.is_set() or heard.lost.done())
    assert not heard.lost.done()
    assert heard.size == len(data)
    assert hashlib.blake2b(heard.received).digest() == hashlib.blake2b(data).digest()
    stream.close()


def test_bulk_both_ways_survives_cut_after_cut() -> None:
    data = random.Random(1).randbytes(6 << 20)

    async def main(sidecar: SidecarProcess) -> None:
        async with tunnel_to(sidecar) as (tunnel, way):
            port = await echo_server()

            async def cut_again() -> None:
                for _ in range(8):
                    way.cut_after = way.passed + 500_000
                    await tunnel.link_down.wait()
                    await tunnel.link_up.wait()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(cut_again)
                await bulk_both_ways(tunnel, port, data)
                await bulk_both_ways(tunnel, port, data)
                nursery.cancel_scope.cancel()
            assert way.dials >= 9
            assert not tunnel.lost.is_set()

    log = over(main)
    words = [line.split(":")[0].split(" (")[0] for line in log.splitlines()]
    assert words[:4] == [CONNECTED_LOG_PREFIX, LOST_LOG_PREFIX] * 2


def test_a_way_that_swallows_everything_is_left_within_ten_seconds() -> None:
    async def main(sidecar: SidecarProcess) -> None:
        async with tunnel_to(sidecar) as (tunnel, way):
            port = await echo_server()
            stream, heard = tunnel.open("127.0.0.1", port), Recorder()
            stream.set_protocol(heard)
            assert await opened(stream) == 0
            way.swallow()
            stream.write(b"is anybody there?")
            with trio.fail_after(12):
                await tunnel.link_down.wait()
                await tunnel.link_up.wait()
                await until(lambda: heard.received == b"is anybody there?")
            stream.close()

    over(main)


def test_a_dial_that_gets_no_answer_is_followed_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "TRY_SECONDS", 0.2)
    monkeypatch.setattr(line, "TRY_ROUND_TRIPS", 0)

    async def main(sidecar: SidecarProcess) -> None:
        async with tunnel_to(sidecar) as (tunnel, way):
            way.unanswered = 2
            way.cut()
            await tunnel.link_down.wait()
            await tunnel.link_up.wait()
            assert way.dials >= 4

    over(main)


def test_only_the_end_of_the_patience_ends_the_tunnel() -> None:
    async def main(sidecar: SidecarProcess) -> None:
        async with tunnel_to(sidecar, patience=0.5) as (tunnel, way):
            stream = tunnel.open("127.0.0.1", await echo_server())
            assert await opened(stream) == 0
            heard = Recorder()
            stream.set_protocol(heard)
            way.stuck = True
            way.cut()
            await tunnel.link_down.wait()
            assert not tunnel.lost.is_set()
            await tunnel.lost.wait()
            await until(heard.lost.done)
            reason = heard.lost.result()
            assert isinstance(reason, OSError)
            assert reason.errno == errno.ECONNRESET

    over(main)


def test_whatever_a_dial_says_it_is_repeated_unless_the_pod_is_gone() -> None:
    async def main(sidecar: SidecarProcess) -> None:
        async with tunnel_to(sidecar) as (tunnel, way):
            way.errors = [
                DialFailed(ClusterUnreachable("refused")),
                ClusterUnreachable("log in again"),
                NoRights("not yet"),
                ConnectionResetError(),
            ]
            way.cut()
            await tunnel.link_down.wait()
            await tunnel.link_up.wait()
            assert way.dials == 6
            way.errors = [SessionLost("the sidecar pod is gone")]
            way.cut()
            await tunnel.lost.wait()
            assert way.dials == 7

    over(main)


def test_a_sidecar_that_ends_in_order_is_not_dialled_again() -> None:
    async def main(sidecar: SidecarProcess) -> None:
        async with tunnel_to(sidecar) as (tunnel, way):
            sidecar.terminate()
            await tunnel.lost.wait()
            assert way.dials == 1

    over(main)


def test_a_tunnel_of_another_session_takes_the_place_of_a_link_that_is_down() -> None:
    async def main(sidecar: SidecarProcess) -> None:
        async with tunnel_to(sidecar) as (first, way):
            stream = first.open("127.0.0.1", await echo_server())
            assert await opened(stream) == 0
            way.errors = [DialFailed(ClusterUnreachable("refused"))] * 3
            way.cut()
            await first.link_down.wait()
            async with tunnel_to(sidecar) as (second, _):
                await first.lost.wait()
                assert not second.lost.is_set()

    over(main)


@pytest.mark.parametrize("say", ["leave", "hand_over"])
def test_a_goodbye_while_the_link_is_down_can_be_given_up(say: str) -> None:
    async def main(sidecar: SidecarProcess) -> None:
        async with tunnel_to(sidecar) as (tunnel, way):
            way.stuck = True
            way.cut()
            await tunnel.link_down.wait()
            with trio.move_on_after(0.1) as waiting:
                await (tunnel.leave() if say == "leave" else tunnel.hand_over(("192.0.2.7",)))
            assert waiting.cancelled_caught
        assert tunnel.lost.is_set()

    over(main)


def test_the_sidecar_waits_for_the_grace_period_and_not_longer() -> None:
    async def main(sidecar: SidecarProcess) -> None:
        async with tunnel_to(sidecar) as (tunnel, way):
            way.stuck = True
            way.cut()
            await tunnel.link_down.wait()
            code, log = await trio.to_thread.run_sync(sidecar.wait)
            assert code == 0
            assert log.splitlines()[-1].startswith("exit (no client for 2 s)")

    over(main, grace=2.0)


@pytest.mark.parametrize("tries", [0, 2])
def test_much_goes_over_a_second_connection_or_if_there_is_none_over_the_first(tries: int) -> None:
    data = random.Random(2).randbytes(3 << 20)

    async def main(sidecar: SidecarProcess) -> None:
        async with tunnel_to(sidecar) as (tunnel, way):
            port = await echo_server()
            way.errors = [DialFailed(ClusterUnreachable("one is enough"))] * tries
            await bulk_both_ways(tunnel, port, data)
            assert way.dials == 2
            assert not tunnel.link_down.is_set()

    over(main)


def test_a_word_passes_by_while_the_second_connection_is_stuck() -> None:
    data = random.Random(3).randbytes(3 << 20)

    async def main(sidecar: SidecarProcess) -> None:
        async with tunnel_to(sidecar) as (tunnel, way):
            port = await echo_server()
            await bulk_both_ways(tunnel, port, data)
            await until(lambda: way.dials == 2)
            way.swallow_last()
            bulk, bulk_heard = tunnel.open("127.0.0.1", port), Recorder()
            bulk.set_protocol(bulk_heard)
            bulk.write(data)
            talk, heard = tunnel.open("127.0.0.1", port, b"a word"), Recorder()
            talk.set_protocol(heard)
            await until(lambda: heard.received == b"a word")
            assert bulk_heard.size < len(data)
            way.cut()
            await until(lambda: bulk_heard.size == len(data))

    over(main)
