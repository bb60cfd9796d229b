"""A stream of operations: what is waited for, and what is not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

from telepresence_sidecar.contract.frames import Kind, Opening
from telepresence_sidecar.contract.remote_files import Op, Request, encode_request
from telepresence_sidecar.contract.stream import HIGH_WATER, MuxStream
from telepresence_sidecar.sending import send_files
from telepresence_sidecar.serving_files import MOST_WAITING
from tests.fakes.loop import in_loop, settle
from tests.fakes.sink import Recorder
from tests.fakes.wire import MuxPair

LARGE = 16 << 20


class Served:
    """A volume that a pod serves; `pod_stream` is the pod's end."""

    def __init__(self, volume: Path) -> None:
        self._pair = MuxPair()
        self._tasks: list[asyncio.Task[None]] = []
        self.pod_stream: MuxStream | None = None
        self._pair.on_open_at_pod = self._opened
        request = {"path": str(volume), "max_bytes": 0, "max_files": 0, "operations": 1}
        self.stream = self._pair.laptop.open(Opening(Kind.FILES, rest=json.dumps(request).encode()))
        self.recorder = Recorder()
        self.stream.set_protocol(self.recorder)

    def _opened(self, stream: MuxStream) -> None:
        self.pod_stream = stream
        self._tasks.append(asyncio.ensure_future(send_files(stream)))

    def buffered(self) -> int:
        assert self.pod_stream is not None
        return self.pod_stream.get_write_buffer_size()

    def ask(self, *requests: Request) -> None:
        for number, request in enumerate(requests, start=1):
            self.stream.write(b"".join(encode_request(number, request)))


async def until(condition: Callable[[], bool]) -> None:
    """The test has a deadline."""
    while not condition():  # noqa: ASYNC110 - nothing announces it
        await asyncio.sleep(0.005)


@in_loop
async def test_a_laptop_that_does_not_read_makes_the_pod_wait_and_not_its_memory_grow(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(LARGE))
    served = Served(tmp_path)
    served.stream.pause_reading()
    reads = [Request(Op.READ, handle=1, offset=start, size=256 << 10) for start in range(0, LARGE, 256 << 10)]
    served.ask(Request(Op.OPEN, b"large", 1), *reads)
    await until(lambda: served.pod_stream is not None and served.buffered() > HIGH_WATER)
    await settle()
    assert served.buffered() < HIGH_WATER + 2 * MOST_WAITING
    served.stream.resume_reading()
    await until(lambda: served.recorder.size >= LARGE)
    served.stream.abort()
