"""What every Tunnel promises, real or fake; see `telepresence_py.tunnel.interface`."""

from __future__ import annotations

import asyncio
import errno
import functools
import inspect
import io
import os
import socket
import tarfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import trio

from telepresence_py.tunnel import bridge
from telepresence_py.tunnel.bridge import in_asyncio
from telepresence_py.tunnel.interface import MuxStream, PodFiles
from telepresence_sidecar.contract.names import Inquiry
from telepresence_sidecar.contract.remote_files import Op, Request
from tests.conformance.tunnel_worlds import WORLDS, World, in_time
from tests.fakes.kubelet import KubeletVolume
from tests.fakes.loop import at_end, settle
from tests.fakes.sink import Recorder


def in_every_world(
    test: Callable[..., Coroutine[Any, Any, None]],
) -> Callable[..., None]:
    """Runs `test(world, ...)` under trio, once for each kind of tunnel."""

    @functools.wraps(test)
    def run(kind: str, **fixtures: Any) -> None:
        async def main() -> None:
            with trio.fail_after(30):
                async with WORLDS[kind]() as world:
                    await test(world, **fixtures)
                await in_asyncio(settle)

        bridge.run(main)

    # pytest asks the signature for fixtures: `world` is not one, `kind` is
    _, *fixtures = inspect.signature(test).parameters.values()
    kind = inspect.Parameter("kind", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    setattr(run, "__signature__", inspect.Signature([kind, *fixtures]))  # noqa: B010 - mypy
    marked: Callable[..., None] = pytest.mark.parametrize("kind", WORLDS)(run)
    return marked


class EchoServer:
    """TCP echo on this host's loopback, which the pod can reach."""

    async def start(self) -> int:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            at_end.append(writer.transport.abort)
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            writer.close()

        self._server = await asyncio.start_server(echo, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        self._server.close()
        await self._server.wait_closed()


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def opened(stream: MuxStream) -> int:
    async def wait() -> int:
        return await stream.opened

    return await in_asyncio(wait)


class Inbox:
    """Takes connections as the laptop would, or refuses the first so many."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals
        self.calls: list[tuple[int, tuple[str, int]]] = []
        self.taken: list[tuple[MuxStream, Recorder]] = []

    def __call__(self, stream: MuxStream, port: int, peer: tuple[str, int]) -> None:
        self.calls.append((port, peer))
        if len(self.calls) <= self.refusals:
            stream.refuse(errno.ECONNREFUSED)
            return
        recorder = Recorder()
        stream.accept()
        stream.set_protocol(recorder)
        self.taken.append((stream, recorder))


class Caller(Recorder):
    """Speaks first, as soon as it is connected."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport is not None
        self.transport.write(b"GET / HTTP/1.1\r\n\r\n")


@in_every_world
async def test_it_knows_its_pod(world: World) -> None:
    assert world.tunnel.facts.hostname
    assert world.tunnel.facts.environment
    assert not world.tunnel.unserved_ports
    assert not world.tunnel.lost.is_set()


@in_every_world
async def test_a_connection_out_carries_first_bytes_and_half_close(world: World) -> None:
    echo = EchoServer()
    port = await in_asyncio(echo.start)
    stream, recorder = world.tunnel.open("127.0.0.1", port, b"first "), Recorder()
    stream.set_protocol(recorder)
    stream.write(b"then " * 100_000)
    stream.write_eof()
    await in_time(recorder.eof.is_set)
    assert recorder.received == b"first " + b"then " * 100_000
    stream.close()
    assert await opened(stream) == 0
    await in_asyncio(echo.stop)


@in_every_world
async def test_a_refused_connection_tells_its_errno(world: World) -> None:
    stream, recorder = world.tunnel.open("127.0.0.1", unused_port(), b"hello"), Recorder()
    stream.set_protocol(recorder)
    assert await opened(stream) == errno.ECONNREFUSED
    await in_time(recorder.lost.done)


@in_every_world
async def test_datagrams_keep_their_boundaries_both_ways(world: World) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.setblocking(False)
        heard: list[bytes] = []
        flow = world.tunnel.datagrams("127.0.0.1", peer.getsockname()[1], heard.append, lambda error: None)
        for datagram in (b"one", b"", bytes(60_000)):
            flow.send(datagram)
        got: list[bytes] = []
        with trio.fail_after(10):
            while len(got) < 3:
                await trio.lowlevel.wait_readable(peer)
                data, sender = peer.recvfrom(65536)
                got.append(data)
                peer.sendto(data[::-1], sender)
        assert got == [b"one", b"", bytes(60_000)]
        await in_time(lambda: heard == [b"eno", b"", bytes(60_000)])
        flow.close()


@in_every_world
async def test_a_flow_to_nobody_ends_with_connection_refused(world: World) -> None:
    ends: list[int] = []
    flow = world.tunnel.datagrams("127.0.0.1", unused_port(), lambda data: None, ends.append)
    flow.send(b"anybody?")
    await in_time(lambda: ends == [errno.ECONNREFUSED])
    flow.send(b"ignored")


@in_every_world
async def test_what_is_no_dns_message_is_an_os_error(world: World) -> None:
    with pytest.raises(OSError, match=r"."):
        await in_asyncio(world.tunnel.resolve, Inquiry(b"short"), print)


@in_every_world
async def test_a_connection_in_waits_until_its_port_is_taken(world: World) -> None:
    inbox, caller = Inbox(), Caller()
    world.tunnel.listen(inbox)
    world.connect(lambda: caller)
    world.tunnel.set_listening(frozenset({world.port + 1}))
    world.tunnel.set_listening(frozenset({world.port}))
    await in_time(lambda: bool(inbox.taken))
    stream, recorder = inbox.taken[0]
    await in_time(lambda: recorder.received == b"GET / HTTP/1.1\r\n\r\n")
    stream.write(b"HTTP/1.1 200 OK\r\n\r\n")
    stream.close()
    await in_time(caller.eof.is_set)
    assert caller.received == b"HTTP/1.1 200 OK\r\n\r\n"
    (port, peer) = inbox.calls[0]
    assert port == world.port
    assert peer[0] in {"127.0.0.1", "10.9.9.9"}
    assert peer[1] > 0


@in_every_world
async def test_a_refused_connection_in_comes_again_with_its_bytes(world: World) -> None:
    inbox, caller = Inbox(refusals=2), Caller()
    world.tunnel.listen(inbox)
    world.tunnel.set_listening(frozenset({world.port}))
    world.connect(lambda: caller)
    await in_time(lambda: bool(inbox.taken))
    _, recorder = inbox.taken[0]
    await in_time(lambda: recorder.received == b"GET / HTTP/1.1\r\n\r\n")
    assert len(inbox.calls) == 3


@in_every_world
async def test_a_reset_of_the_laptop_reaches_the_caller(world: World) -> None:
    inbox, caller = Inbox(), Caller()
    world.tunnel.listen(inbox)
    world.tunnel.set_listening(frozenset({world.port}))
    world.connect(lambda: caller)
    await in_time(lambda: bool(inbox.taken))
    inbox.taken[0][0].abort()
    await in_time(caller.lost.done)
    assert isinstance(caller.lost.result(), ConnectionResetError)


@in_every_world
async def test_the_pod_is_ready_when_told_so(world: World) -> None:
    assert not await trio.to_thread.run_sync(world.is_ready)
    world.tunnel.set_ready(True)
    with trio.fail_after(5):
        while not await trio.to_thread.run_sync(world.is_ready):  # noqa: ASYNC110 - another process
            await trio.sleep(0.01)


@in_every_world
async def test_files_come_as_a_tar_stream_after_their_report(world: World, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c").write_bytes(b"")
    async with world.tunnel.files(str(tmp_path), max_bytes=4_000_000, max_files=2) as pod_files:
        report = pod_files.report
        tar = b"".join([chunk async for chunk in pod_files.chunks()])
    assert (report.kind, report.files, report.size, report.refusal) == ("directory", 2, 3_000_000, "")
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        assert {"a", "b/c"} <= set(archive.getnames())
        contents = archive.extractfile("a")
        assert contents is not None
        assert contents.read() == b"x" * 3_000_000


@pytest.mark.parametrize(("max_bytes", "max_files"), [(5, 10), (100, 1)])
@in_every_world
async def test_what_is_too_large_is_reported_instead(
    world: World, tmp_path: Path, max_bytes: int, max_files: int
) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(b"12345")
    async with world.tunnel.files(str(tmp_path), max_bytes, max_files) as pod_files:
        assert pod_files.report.refusal
        assert [chunk async for chunk in pod_files.chunks()] == []


@in_every_world
async def test_a_missing_path_is_reported(world: World, tmp_path: Path) -> None:
    async with world.tunnel.files(str(tmp_path / "no"), 1, 1) as pod_files:
        assert pod_files.report.kind == "missing"
        assert pod_files.report.refusal


async def answered(world: World) -> None:
    """What was asked before has reached the pod."""
    async with world.tunnel.files("/nowhere", 0, 0):
        pass


async def contents(pod_files: PodFiles) -> dict[str, bytes]:
    tar = b"".join([chunk async for chunk in pod_files.chunks()])
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        files = {member.name: archive.extractfile(member) for member in archive if member.isfile()}
        return {name: file.read() for name, file in files.items() if file is not None}


@in_every_world
async def test_a_renewed_volume_has_a_state_and_other_paths_have_none(world: World, tmp_path: Path) -> None:
    volume = KubeletVolume(tmp_path / "volume", colour="green")
    async with world.tunnel.files(str(volume.path), 100, 10, unlike="") as pod_files:
        assert (pod_files.report.path, pod_files.report.state) == (str(volume.path), volume.state)
        assert await contents(pod_files) == {"colour": b"green"}
    async with world.tunnel.files(str(tmp_path), 10_000, 10, unlike="") as pod_files:
        assert pod_files.report.state == ""
    async with world.tunnel.files(str(volume.path), 100, 10) as pod_files:
        assert pod_files.report.state is None
        assert await contents(pod_files) == {f"{volume.state}/colour": b"green"}


@in_every_world
async def test_the_next_state_comes_when_the_volume_is_in_it(world: World, tmp_path: Path) -> None:
    volume = KubeletVolume(tmp_path / "token", token="first")
    answers: list[dict[str, bytes]] = []

    async def follow(state: str) -> None:
        async with world.tunnel.files(str(volume.path), 100, 10, unlike=state) as pod_files:
            answers.append(await contents(pod_files))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow, volume.state)
        await answered(world)
        assert answers == []
        volume.write(token="second", more="m")
    assert answers == [{"token": b"second", "more": b"m"}]


@in_every_world
async def test_states_that_follow_each_other_soon_come_as_the_last(world: World, tmp_path: Path) -> None:
    volume = KubeletVolume(tmp_path / "volume", number="0")
    known = volume.state
    for number in range(1, 20):
        volume.write(number=str(number))
    async with world.tunnel.files(str(volume.path), 100, 10, unlike=known) as pod_files:
        assert pod_files.report.state == volume.state
        assert await contents(pod_files) == {"number": b"19"}


@in_every_world
async def test_a_state_that_is_too_large_is_reported_instead(world: World, tmp_path: Path) -> None:
    volume = KubeletVolume(tmp_path / "volume", key="1")
    known, large = volume.state, volume.write(key="x" * 200)
    async with world.tunnel.files(str(volume.path), 100, 10, unlike=known) as pod_files:
        assert pod_files.report.state == large
        assert pod_files.report.refusal == "it holds more than 100 bytes"


@in_every_world
async def test_a_state_that_is_replaced_while_it_is_sent_breaks_off(world: World, tmp_path: Path) -> None:
    volume = KubeletVolume(tmp_path / "volume", large="x" * 30_000_000)
    async with world.tunnel.files(str(volume.path), 40_000_000, 10, unlike="") as pod_files:
        volume.write(large="small")
        with pytest.raises(OSError, match=r".") as raised:
            await contents(pod_files)
    assert raised.value.errno == errno.ESTALE


@in_every_world
async def test_who_waits_for_a_state_is_told_of_the_pod_s_end(world: World, tmp_path: Path) -> None:
    volume = KubeletVolume(tmp_path / "volume", key="1")

    async def wait() -> None:
        with pytest.raises(OSError, match=r"."):
            async with world.tunnel.files(str(volume.path), 100, 10, unlike=volume.state):
                pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await answered(world)
        world.cut()


@in_every_world
async def test_handing_over_returns_when_the_pod_knows(world: World) -> None:
    await world.tunnel.hand_over(("192.0.2.7",))
    assert not world.tunnel.lost.is_set()


@in_every_world
async def test_after_leaving_the_tunnel_is_lost(world: World) -> None:
    await world.tunnel.leave()
    assert world.tunnel.lost.is_set()
    assert await opened(world.tunnel.open("127.0.0.1", 1)) == errno.ECONNRESET
    await world.tunnel.leave()


@in_every_world
async def test_the_pod_s_end_is_told_to_everybody(world: World, tmp_path: Path) -> None:
    echo = EchoServer()
    port = await in_asyncio(echo.start)
    stream, recorder = world.tunnel.open("127.0.0.1", port), Recorder()
    stream.set_protocol(recorder)
    assert await opened(stream) == 0
    world.cut()
    with trio.fail_after(10):
        await world.tunnel.lost.wait()
    await in_time(recorder.lost.done)
    assert isinstance(recorder.lost.result(), ConnectionResetError)
    with pytest.raises(OSError, match=r"."):
        await in_asyncio(world.tunnel.resolve, Inquiry(bytes(12)), print)
    with pytest.raises(OSError, match=r"."):
        async with world.tunnel.files(str(tmp_path), 1, 1):
            pass
    await in_asyncio(echo.stop)


@in_every_world
async def test_connections_both_ways_outlive_a_cut_link(world: World) -> None:
    echo, inbox, caller = EchoServer(), Inbox(), Caller()
    port = await in_asyncio(echo.start)
    out, out_heard = world.tunnel.open("127.0.0.1", port), Recorder()
    out.set_protocol(out_heard)
    world.tunnel.listen(inbox)
    world.tunnel.set_listening(frozenset({world.port}))
    world.connect(lambda: caller)
    await in_time(lambda: bool(inbox.taken))
    sent = b""
    for number in range(3):
        piece = bytes([number]) * 300_000
        out.write(piece)
        inbox.taken[0][0].write(piece)
        sent += piece
        world.cut_link()
        await in_time(world.tunnel.link_down.is_set)
        world.mend_link()
        with trio.fail_after(10):
            await world.tunnel.link_up.wait()
        assert not world.tunnel.link_down.is_set()
    await in_time(lambda: len(out_heard.received) == len(caller.received) == len(sent))
    assert out_heard.received == caller.received == sent
    assert not world.tunnel.lost.is_set()
    out.close()
    await in_asyncio(echo.stop)


@in_every_world
async def test_what_comes_while_the_link_is_down_is_served_when_it_is_back(world: World) -> None:
    echo, inbox, caller = EchoServer(), Inbox(), Caller()
    port = await in_asyncio(echo.start)
    world.tunnel.listen(inbox)
    world.tunnel.set_listening(frozenset({world.port}))
    await answered(world)
    world.cut_link()
    await in_time(world.tunnel.link_down.is_set)
    world.connect(lambda: caller)
    out, out_heard = world.tunnel.open("127.0.0.1", port, b"patience"), Recorder()
    out.set_protocol(out_heard)
    world.tunnel.set_ready(True)
    assert not inbox.calls
    world.mend_link()
    await in_time(lambda: bool(inbox.taken))
    await in_time(lambda: out_heard.received == b"patience")
    assert await opened(out) == 0
    await in_time(world.is_ready)
    out.close()
    await in_asyncio(echo.stop)


@in_every_world
async def test_a_message_that_the_link_lost_still_arrives(world: World) -> None:
    async with trio.open_nursery() as nursery:
        world.cut_link()
        nursery.start_soon(world.tunnel.hand_over, ("192.0.2.7",))
        await in_time(world.tunnel.link_down.is_set)
        world.mend_link()
    await world.tunnel.leave()
    assert world.tunnel.lost.is_set()


@in_every_world
async def test_the_pod_s_end_while_the_link_is_down_is_told_to_everybody(world: World) -> None:
    world.cut_link()
    await in_time(world.tunnel.link_down.is_set)
    stream = world.tunnel.open("127.0.0.1", 1)
    world.cut()
    with trio.fail_after(10):
        await world.tunnel.lost.wait()
    assert world.tunnel.link_up.is_set()
    assert await opened(stream) == errno.ECONNRESET


@in_every_world
async def test_files_of_the_pod_are_worked_on_where_they_are(world: World, tmp_path: Path) -> None:
    async def work() -> bytes:
        operations = await world.tunnel.operations(str(tmp_path))
        create = os.O_RDWR | os.O_CREAT
        asked = [
            operations.send(Request(Op.OPEN, b"f", 1, flags=create, mode=0o640)),
            operations.send(Request(Op.WRITE, handle=1, data=b"x" * 700_000)),
            operations.send(Request(Op.READ, handle=1, offset=699_999, size=10)),
            operations.send(Request(Op.STAT, b"missing")),
        ]
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(found[3], FileNotFoundError)
        operations.close()
        return bytes(found[2])  # type: ignore[arg-type]

    assert await in_asyncio(work) == b"x"
    assert (tmp_path / "f").read_bytes() == b"x" * 700_000


@in_every_world
async def test_what_is_no_directory_is_not_worked_on(world: World, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="single file"):
        await in_asyncio(world.tunnel.operations, str(tmp_path / "file"))
    with pytest.raises(FileNotFoundError):
        await in_asyncio(world.tunnel.operations, str(tmp_path / "missing"))


@in_every_world
async def test_what_waits_for_files_fails_when_the_pod_is_gone(world: World, tmp_path: Path) -> None:
    operations = await in_asyncio(world.tunnel.operations, str(tmp_path))
    world.cut_link()
    await world.tunnel.link_down.wait()
    asked = operations.send(Request(Op.SPACE))
    world.cut()

    async def errors() -> list[int | None]:
        found = await asyncio.gather(asked, return_exceptions=True)
        assert operations.is_lost()
        found += await asyncio.gather(operations.send(Request(Op.SPACE)), return_exceptions=True)
        return [one.errno for one in found if isinstance(one, OSError)]

    assert await in_asyncio(errors) == [errno.EIO] * 2
