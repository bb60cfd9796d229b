"""Echo, sink, source and HTTP, on four ports from the one that is given on; in a pod, or as the child.

    python3 server.py FIRST_PORT

FIRST_PORT     echo: all that comes goes back
FIRST_PORT + 1 sink: 8 bytes of a length, and so many bytes, are answered by `k` once all are there; and again
FIRST_PORT + 2 source: 8 bytes of a length is answered by so many bytes; and again
FIRST_PORT + 3 HTTP/1.1: each request is answered by 128 bytes; connections are kept
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import select
import signal
import socket
import sys

PIECE = memoryview(bytes(256 << 10))
AT_ONCE = 64
BODY = b"x" * 128
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY


class Connected(asyncio.Protocol):
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport


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


class Answering:
    """Echo and HTTP, in a process of their own so that bulk is not in their way: the load shall cost little.

    Connections are blocking, as only what is there is read and little is answered.
    """

    def __init__(self, echo: socket.socket, http: socket.socket, parent: int) -> None:
        self._listeners = {echo.fileno(): echo, http.fileno(): http}
        self._http = http.fileno()
        self._parent = parent
        self._begun: dict[int, bytes] = {}
        """By the descriptors of HTTP connections: of a head that is not whole yet."""
        self._epoll = select.epoll()
        for descriptor in (*self._listeners, parent):
            self._epoll.register(descriptor, select.EPOLLIN)

    def run(self) -> None:
        """Until the other end of `parent`, a pipe, is closed."""
        while True:
            for descriptor, _ in self._epoll.poll():
                if descriptor in self._listeners:
                    self._accept(descriptor)
                elif descriptor == self._parent:
                    return
                else:
                    self._serve(descriptor)

    def _accept(self, listener: int) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            for _ in range(AT_ONCE):
                descriptor = self._listeners[listener].accept()[0].detach()
                self._epoll.register(descriptor, select.EPOLLIN)
                if listener == self._http:
                    self._begun[descriptor] = b""

    def _serve(self, descriptor: int) -> None:
        try:
            data = os.read(descriptor, 65536)
            if data:
                os.write(descriptor, self._answer(descriptor, data))
                return
        except OSError:
            pass
        self._begun.pop(descriptor, None)
        os.close(descriptor)

    def _answer(self, descriptor: int, data: bytes) -> bytes:
        if descriptor not in self._begun:
            return data
        *requests, self._begun[descriptor] = (self._begun[descriptor] + data).split(b"\r\n\r\n")
        return ANSWER * len(requests)


def listen(port: int) -> socket.socket:
    """What it accepts has its settings."""
    listener = socket.create_server(("0.0.0.0", port), backlog=4096)
    listener.setblocking(False)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


async def serve(sink: socket.socket, source: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_server(Sink, sock=sink)
    await loop.create_server(Source, sock=source)
    print("serving", flush=True)
    await asyncio.Event().wait()


def main(first_port: int) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    echo, sink, source, http = (listen(first_port + number) for number in range(4))
    parent, held = os.pipe()
    if not os.fork():
        os.close(held)
        Answering(echo, http, parent).run()
        os._exit(0)
    os.close(parent)
    echo.close()
    http.close()
    asyncio.run(serve(sink, source))


if __name__ == "__main__":
    main(int(sys.argv[1]))
