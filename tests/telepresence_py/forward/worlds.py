"""Stand-ins for what the forward room is given: captured connections, a tunnel over a wire in memory."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any, cast

import trio

from telepresence_py.tunnel.bridge import run
from telepresence_py.tunnel.interface import MuxStream, OnConnection, Splice, Tunnel
from telepresence_sidecar.contract.frames import Kind, Opening
from tests.fakes.sink import Recorder
from tests.fakes.wire import MuxPair


def in_session(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Runs the test under trio as guest of asyncio, with a deadline."""

    def run_it() -> None:
        async def main() -> None:
            with trio.fail_after(15):
                await test()

        run(main)

    run_it.__name__ = test.__name__
    return run_it


class _Captured(socket.socket):
    meant: tuple[str, int]

    def getsockname(self) -> Any:
        return self.meant


class CapturingListener(socket.socket):
    """Listens on the laptop's loopback; what it accepts was meant for `meant`, as under TPROXY.

    `errors` are raised by the next calls of accept.
    """

    def __init__(self, meant: tuple[str, int], family: int = socket.AF_INET) -> None:
        super().__init__(family, socket.SOCK_STREAM)
        self.meant = meant
        self.errors: list[OSError] = []
        self.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        self.at = self.getsockname()[:2]
        self.listen(4096)

    def accept(self) -> tuple[socket.socket, Any]:
        if self.errors:
            raise self.errors.pop(0)
        descriptor, peer = self._accept()  # type: ignore[attr-defined]
        captured = _Captured(self.family, self.type, self.proto, fileno=descriptor)
        captured.meant = self.meant
        return captured, peer


class MuxTunnel:
    """The laptop's end of a tunnel to a pod that the test plays; `pair.at_pod` has what was opened there."""

    def __init__(self) -> None:
        self.pair = MuxPair()
        self.pair.on_open_at_laptop = self._arrived
        self.lost = trio.Event()
        self.told: list[frozenset[int]] = []
        self.on_connection: OnConnection | None = None

    def open(self, host: str, port: int, first: bytes = b"") -> MuxStream:
        return self.pair.laptop.open(Opening(Kind.TCP, host, port), first)

    def listen(self, on_connection: OnConnection) -> None:
        self.on_connection = on_connection

    def set_listening(self, pod_ports: frozenset[int]) -> None:
        self.told.append(pod_ports)

    def connect_in(self, pod_port: int, first: bytes = b"") -> MuxStream:
        """A client of the cluster connects to the pod."""
        return self.pair.pod.open(Opening(Kind.INBOUND, "10.0.0.9", pod_port, 40000), first)

    def as_tunnel(self) -> Tunnel:
        return cast(Tunnel, self)

    def _arrived(self, stream: MuxStream) -> None:
        assert self.on_connection is not None
        opening = stream.opening
        self.on_connection(stream, opening.port, (opening.host, opening.peer_port))

    def dial_from_pod(self, choose: Callable[[Opening], tuple[str, int]]) -> None:
        """The pod dials for real, to where `choose` says."""
        tasks = set()

        async def dial(stream: MuxStream) -> None:
            loop = asyncio.get_running_loop()
            try:
                transport, _ = await loop.create_connection(_Paused, *choose(stream.opening))
            except OSError as error:
                stream.refuse(error.errno or 111)
                return
            stream.accept()
            Splice(transport, stream).start()

        def opened(stream: MuxStream) -> None:
            task = asyncio.get_running_loop().create_task(dial(stream))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        self.pair.on_open_at_pod = opened


class _Paused(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).pause_reading()


async def connect(address: Any, data: bytes = b"") -> Recorder:
    """A client's connection to a listener, with `data` sent at once."""
    recorder = Recorder()
    await asyncio.get_running_loop().create_connection(lambda: recorder, *address[:2])
    assert recorder.transport is not None
    recorder.transport.write(data)
    return recorder
