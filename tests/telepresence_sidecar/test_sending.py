"""What goes over the wire for files and for volumes that are renewed."""

from __future__ import annotations

import asyncio
import errno
import json
from pathlib import Path

import pytest

from telepresence_sidecar.contract.frames import FIRST_OF_LINK, FrameReader, FrameType, Kind, Opening
from telepresence_sidecar.contract.stream import MuxStream
from telepresence_sidecar.sending import send_files
from tests.fakes.kubelet import KubeletVolume
from tests.fakes.loop import in_loop, settle
from tests.fakes.sink import Recorder
from tests.fakes.wire import MemoryPipe, MuxPair


class Told:
    """The mux's frames that one end wrote to its wire."""

    def __init__(self, wire: MemoryPipe, monkeypatch: pytest.MonkeyPatch) -> None:
        self.types: list[FrameType] = []
        reader, write = FrameReader(), wire.write

        def note(*pieces: bytes | memoryview) -> None:
            self.types += [f.type for f in reader.feed(b"".join(pieces)) if f.type < FIRST_OF_LINK]
            write(*pieces)

        monkeypatch.setattr(wire, "write", note)


class Link:
    """A laptop and a pod that serves FILES streams."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pair = MuxPair()
        self.tasks: list[asyncio.Task[None]] = []
        self.pair.on_open_at_pod = lambda stream: self.tasks.append(asyncio.ensure_future(send_files(stream)))
        self.laptop = Told(self.pair.laptop_wire, monkeypatch)
        self.pod = Told(self.pair.pod_wire, monkeypatch)

    def ask(self, path: Path, **more: object) -> tuple[MuxStream, Recorder]:
        request = {"path": str(path), "max_bytes": 1000, "max_files": 10, **more}
        stream = self.pair.laptop.open(Opening(Kind.FILES, rest=json.dumps(request).encode()))
        recorder = Recorder()
        stream.set_protocol(recorder)
        return stream, recorder


async def until_eof(recorder: Recorder) -> dict[str, object]:
    async with asyncio.timeout(10):
        await recorder.eof.wait()
    report = json.loads(recorder.received.partition(b"\n")[0])
    assert isinstance(report, dict)
    return report


@in_loop
async def test_one_change_costs_one_question_and_one_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = KubeletVolume(tmp_path / "volume", key="1")
    link = Link(monkeypatch)
    stream, recorder = link.ask(volume.path, unlike=volume.state)
    volume.write(key="2")
    assert (await until_eof(recorder))["state"] == volume.state
    stream.abort()
    await settle()
    assert link.laptop.types == [FrameType.OPEN, FrameType.RESET]
    assert link.pod.types[0] is FrameType.OPENED
    assert link.pod.types[-1] is FrameType.EOF
    data = link.pod.types[1:-1]
    assert set(data) == {FrameType.DATA}
    assert len(data) <= 5, "the report, a header, the file, its padding, the end of the archive"


@in_loop
async def test_waiting_says_nothing_and_ends_with_its_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = KubeletVolume(tmp_path / "volume", key="1")
    link = Link(monkeypatch)
    monkeypatch.setattr("telepresence_sidecar.renewal.LOOK_SECONDS", 0.01)
    stream, _ = link.ask(volume.path, unlike=volume.state)
    await asyncio.sleep(0.1)
    assert (link.laptop.types, link.pod.types) == ([FrameType.OPEN], [])
    stream.abort()
    async with asyncio.timeout(10):
        await asyncio.wait(link.tasks)
    assert link.tasks[0].cancelled()


@in_loop
async def test_a_laptop_that_asks_for_no_state_hears_only_what_it_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = KubeletVolume(tmp_path / "volume", key="1")
    _, recorder = Link(monkeypatch).ask(volume.path)
    report = await until_eof(recorder)
    assert set(report) == {"path", "kind", "files", "size", "refusal", "unreadable"}


@pytest.mark.parametrize("request_", [b"no json", b"[]", b"{}", b'{"path": "/", "max_bytes": "many"}'])
@in_loop
async def test_what_is_no_request_is_refused(request_: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Link(monkeypatch).pair.laptop.open(Opening(Kind.FILES, rest=request_))
    async with asyncio.timeout(10):
        assert await stream.opened == errno.EINVAL
