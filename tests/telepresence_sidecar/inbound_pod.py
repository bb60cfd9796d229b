"""An Inbound with a laptop at the other end of a mux in memory."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from telepresence_sidecar.contract.stream import MuxStream
from telepresence_sidecar.inbound import Inbound
from tests.fakes.loop import at_end, until
from tests.fakes.sink import Recorder
from tests.fakes.wire import MuxPair

PORT = 8080


def listener(address: str = "127.0.0.1", port: int = 0) -> socket.socket:
    made = socket.create_server((address, port))
    made.setblocking(False)
    return made


class Pod:
    """An Inbound that serves PORT on some loopback port, and the laptop's answers to its offers."""

    async def start(self, hold_connections: int = 10, hold_seconds: float = 10.0) -> Pod:
        self.inbound = Inbound(hold_connections, hold_seconds, is_own=lambda address: address == "192.0.2.1")
        listening = listener()
        at_end.append(self.inbound.close)
        self.address = listening.getsockname()
        await self.inbound.serve(PORT, listening)
        self.offered: list[MuxStream] = []
        self.answer: Callable[[MuxStream], None] = lambda stream: None
        return self

    def client_comes(self, ports: frozenset[int] = frozenset({PORT})) -> MuxPair:
        self.pair = MuxPair()

        def offered(stream: MuxStream) -> None:
            self.offered.append(stream)
            self.answer(stream)

        self.pair.on_open_at_laptop = offered
        self.inbound.client(self.pair.pod)
        self.inbound.listening(ports)
        return self.pair

    async def call(self, first: bytes = b"hello") -> tuple[asyncio.Transport, Recorder]:
        loop = asyncio.get_running_loop()
        transport, recorder = await loop.create_connection(Recorder, *self.address)
        if first:
            transport.write(first)
        return transport, recorder

    async def held(self, count: int) -> None:
        await until(lambda: len(self.inbound._held) == count)
