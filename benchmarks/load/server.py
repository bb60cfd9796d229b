"""Echo, sink, source and HTTP, on four ports from the one that is given on; in a pod, or as the child.

    python3 server.py FIRST_PORT

FIRST_PORT     echo: all that comes goes back
FIRST_PORT + 1 sink: 8 bytes of a length, and so many bytes, are answered by `k` once all are there; and again
FIRST_PORT + 2 source: 8 bytes of a length is answered by so many bytes; and again
FIRST_PORT + 3 HTTP/1.1: each request is answered by 128 bytes; connections are kept
"""

from __future__ import annotations

import asyncio
import resource
import signal
import sys
from collections.abc import Callable

PIECE = memoryview(bytes(256 << 10))
BODY = b"x" * 128
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY


class Connected(asyncio.Protocol):
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport


class Echo(Connected):
    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Http(Connected):
    _begun = b""

    def data_received(self, data: bytes) -> None:
        *requests, self._begun = (self._begun + data).split(b"\r\n\r\n")
        self.transport.write(ANSWER * len(requests))


class Sink(asyncio.BufferedProtocol):
    def __init__(self) -> None:
        self._buffer = memoryview(bytearray(1 << 20))
        self._header = b""
        self._missing = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        position = 0
        while position < nbytes:
            if not self._missing:
                taken = self._buffer[position : min(nbytes, position + 8 - len(self._header))]
                self._header += taken
                position += len(taken)
                if len(self._header) == 8:
                    self._missing, self._header = int.from_bytes(self._header, "big"), b""
                continue
            count = min(self._missing, nbytes - position)
            self._missing -= count
            position += count
            if not self._missing:
                self._transport.write(b"k")


class Source(Connected):
    def __init__(self) -> None:
        self._header = b""
        self._owed = 0
        self._is_full = False

    def data_received(self, data: bytes) -> None:
        self._header += data
        while len(self._header) >= 8:
            self._owed += int.from_bytes(self._header[:8], "big")
            self._header = self._header[8:]
        self._pump()

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        self._pump()

    def _pump(self) -> None:
        while self._owed and not self._is_full and not self.transport.is_closing():
            piece = PIECE[: self._owed]
            self._owed -= len(piece)
            self.transport.write(piece)


KINDS: tuple[Callable[[], asyncio.BaseProtocol], ...] = (Echo, Sink, Source, Http)


async def serve(first_port: int) -> None:
    loop = asyncio.get_running_loop()
    for number, kind in enumerate(KINDS):
        await loop.create_server(kind, "0.0.0.0", first_port + number, backlog=4096)
    print("serving", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    asyncio.run(serve(int(sys.argv[1])))
