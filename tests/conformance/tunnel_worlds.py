"""Where a tunnel is tried: the real one to a sidecar process, and the fake."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial

import trio

from telepresence_py.model.errors import SessionLost
from telepresence_py.tunnel.bridge import in_asyncio
from telepresence_py.tunnel.connection import open_tunnel_over
from telepresence_py.tunnel.interface import Tunnel
from telepresence_py.tunnel.keys import SessionKey
from telepresence_sidecar.contract.stream import MuxStream
from tests.fakes.sidecar_process import SidecarProcess, sidecar_process
from tests.fakes.tunnel import FakePod

DEADLINE = 20.0


@dataclass
class World:
    """`port` is one of the workload's; `connect()` arrives at it, as a transport with such a protocol;
    `is_ready` is what a readiness probe is told; `cut` ends the pod; `cut_link` breaks the link, which nobody
    can dial until `mend_link`."""

    tunnel: Tunnel
    port: int
    connect: Callable[[Callable[[], asyncio.Protocol]], None]
    is_ready: Callable[[], bool]
    cut: Callable[[], None]
    cut_link: Callable[[], None]
    mend_link: Callable[[], None]


class Way:
    """Between the laptop and a sidecar process: passes every byte on, and can be cut."""

    def __init__(self, sidecar: SidecarProcess) -> None:
        self._sidecar = sidecar
        self._open = True
        self._gone = False
        self._connections: list[asyncio.Transport] = []

    async def connect(self, factory: Callable[[], asyncio.Protocol]) -> asyncio.Protocol:
        if self._gone:
            raise SessionLost("the pod is gone")
        if not self._open:
            raise ConnectionRefusedError("nobody can get through")
        loop = asyncio.get_running_loop()
        address = "127.0.0.1", self._sidecar.config.tunnel_port
        transport, protocol = await loop.create_connection(factory, *address)
        self._connections.append(transport)
        return protocol

    def cut(self) -> None:
        self._open = False
        for transport in self._connections:
            transport.abort()
        self._connections.clear()

    def mend(self) -> None:
        self._open = True

    def end_pod(self) -> None:
        self._gone = True
        self._sidecar.process.kill()


@asynccontextmanager
async def live_world() -> AsyncIterator[World]:
    key = SessionKey.generate()
    with sidecar_process(key.public_line) as sidecar:
        port = sidecar.config.ports[0]

        def arrive(factory: Callable[[], asyncio.Protocol]) -> None:
            loop = asyncio.get_running_loop()
            tasks.add(loop.create_task(loop.create_connection(factory, "127.0.0.1", port)))

        tasks: set[asyncio.Task[object]] = set()
        way = Way(sidecar)
        async with open_tunnel_over(way.connect, key, sidecar.fingerprint, DEADLINE, DEADLINE) as tunnel:
            is_ready = partial(_probe, sidecar.config.health_port)
            yield World(tunnel, port, arrive, is_ready, way.end_pod, way.cut, way.mend)


@asynccontextmanager
async def fake_world() -> AsyncIterator[World]:
    pod = FakePod()

    def arrive(factory: Callable[[], asyncio.Protocol]) -> None:
        pod.arrive(8080, lambda stream: join(stream, factory()), ("10.9.9.9", 4711))

    def join(stream: MuxStream, protocol: asyncio.Protocol) -> None:
        protocol.connection_made(stream)
        stream.set_protocol(protocol)

    tunnel = pod.tunnel()
    await tunnel.link_up.wait()
    is_ready = partial(getattr, pod, "ready")
    yield World(tunnel, 8080, arrive, is_ready, pod.cut, pod.cut_link, pod.mend_link)
    pod.cut()


def _probe(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=0.5) as answer:
            return bool(answer.status == 200)
    except TimeoutError:
        return False  # as for the kubelet; the sidecar waits with its no
    except urllib.error.HTTPError as refused:
        refused.close()
        return False


WORLDS: dict[str, Callable[[], AbstractAsyncContextManager[World]]] = {"live": live_world, "fake": fake_world}


async def in_time(condition: Callable[[], bool]) -> None:
    """Until `condition` holds; trio.TooSlowError after the deadline."""
    with trio.fail_after(DEADLINE):
        while not condition():  # noqa: ASYNC110 - asyncio sets no trio event
            await trio.sleep(0.005)


__all__ = ["WORLDS", "World", "in_asyncio", "in_time"]
