"""The process behind a Link: relays TCP with a delay, and misbehaves when it is told to on its stdin.

    python -m integration.support.link LISTEN_PORT HOST:PORT      port 0: any that is free

It says `listening PORT`, then answers each line that it has carried out with `ok`, or with what is wrong.
One thread over epoll. Every piece waits half a round trip in the order it came; no rate is limited. A pipe
that holds HIGH_WATER bytes is not read on, so the sender is held up as by any full link.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any

PIECE = 256 << 10
HIGH_WATER = 48 << 20
"""Half a round trip of 50 ms at more than a gigabyte per second."""
NO_LINGER = struct.pack("ii", 1, 0)
READ, WRITE = select.EPOLLIN, select.EPOLLOUT

Target = tuple[socket.AddressFamily, tuple[Any, ...]]
"""As getaddrinfo tells it."""


class Pipe:
    """One direction of a connection: what came from `source` and was not yet written to `sink`.

    An empty piece is the end of the stream. `due` tells when the first piece may go.
    """

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source, self.sink = source, sink
        self.pieces: deque[tuple[float, memoryview]] = deque()
        self.size = 0
        self.source_ended = self.ended = False
        self.is_scheduled = False
        self.is_blocked = False
        """The kernel took no more: wait until it does."""

    @property
    def wants_more(self) -> bool:
        return not self.source_ended and self.size < HIGH_WATER

    @property
    def due(self) -> float | None:
        return self.pieces[0][0] if self.pieces and not self.is_blocked else None

    def read(self, delay: float) -> None:
        """OSError when the connection is broken."""
        with contextlib.suppress(BlockingIOError):
            data = self.source.recv(PIECE)
            self.source_ended = not data
            self.size += len(data)
            self.pieces.append((time.monotonic() + delay, memoryview(data)))

    def write(self) -> None:
        """All that is due, as far as the kernel takes it; OSError when the connection is broken."""
        now = time.monotonic()
        while self.pieces and self.pieces[0][0] <= now:
            due, data = self.pieces[0]
            if not data:
                self.pieces.popleft()
                self.ended = True
                self.sink.shutdown(socket.SHUT_WR)
                continue
            try:
                sent = self.sink.send(data)
            except BlockingIOError:
                self.is_blocked = True
                return
            self.size -= sent
            if sent == len(data):
                self.pieces.popleft()
            else:
                self.pieces[0] = (due, data[sent:])


class Connection:
    """A client's socket, the one to the target, and the two pipes between them."""

    def __init__(self, client: socket.socket, target: Target) -> None:
        family, address = target
        self.client, self.upstream = client, socket.socket(family)
        for side in (self.client, self.upstream):
            side.setblocking(False)
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.upstream.connect_ex(address)  # writable when it is connected; an error shows at the first read
        self.pipes = (Pipe(client, self.upstream), Pipe(self.upstream, client))
        self.pipes[0].is_blocked = True
        self.is_stranded = False

    def interest(self, side: socket.socket) -> int:
        wanted = 0
        for pipe in self.pipes:
            if pipe.source is side and pipe.wants_more:
                wanted |= READ
            if pipe.sink is side and pipe.is_blocked:
                wanted |= WRITE
        return wanted

    def close(self, *, reset: bool) -> None:
        for side in (self.client, self.upstream):
            if reset:
                with contextlib.suppress(OSError):
                    side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            side.close()


class Relay:
    """Listens at once; `run` relays until `orders`, a file descriptor, ends. Answers go to `say`."""

    def __init__(self, port: int, target: Target, orders: int, say: Callable[[str], None]) -> None:
        self._target, self._orders, self._say = target, orders, say
        self._one_way = 0.0
        self._stalled = self._over = False
        self._stranded: list[Connection] = []
        self._text = b""
        self._epoll = select.epoll()
        self._by_side: dict[int, tuple[Connection, socket.socket]] = {}
        self._masks: dict[int, int] = {}
        self._timers: list[tuple[float, int, Pipe, Connection]] = []
        self._number = count()
        self._listener: socket.socket | None = None
        self.port = port
        self._accept()
        os.set_blocking(orders, False)
        self._epoll.register(orders, READ)

    def run(self) -> None:
        while not self._over:
            for descriptor, happened in self._wait():
                if descriptor == self._orders:
                    self._obey()
                elif self._listener is not None and descriptor == self._listener.fileno():
                    self._take()
                elif descriptor in self._by_side and not self._stalled:
                    self._serve(*self._by_side[descriptor], happened)
            self._write_due()

    # --- bytes -------------------------------------------------------------------------------------------

    def _wait(self) -> list[tuple[int, int]]:
        """epoll counts in milliseconds, select in microseconds."""
        if self._stalled or not self._timers:
            return self._epoll.poll()
        seconds = max(0.0, self._timers[0][0] - time.monotonic())
        if seconds:
            select.select([self._epoll.fileno()], [], [], seconds)
        return self._epoll.poll(0)

    def _take(self) -> None:
        assert self._listener is not None
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            connection = Connection(self._listener.accept()[0], self._target)
            for side in (connection.client, connection.upstream):
                self._by_side[side.fileno()] = connection, side
            self._watch(connection)

    def _serve(self, connection: Connection, side: socket.socket, happened: int) -> None:
        try:
            for pipe in connection.pipes:
                if pipe.source is side and happened & ~WRITE and pipe.wants_more:
                    pipe.read(self._one_way)
                    self._schedule(pipe, connection)
                if pipe.sink is side and happened & WRITE and pipe.is_blocked:
                    pipe.is_blocked = False
                    self._schedule(pipe, connection)
        except OSError:
            self._drop(connection, reset=True)
        else:
            self._watch(connection)

    def _schedule(self, pipe: Pipe, connection: Connection) -> None:
        if pipe.due is not None and not pipe.is_scheduled:
            pipe.is_scheduled = True
            heapq.heappush(self._timers, (pipe.due, next(self._number), pipe, connection))

    def _write_due(self) -> None:
        if self._stalled:
            return
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            _, _, pipe, connection = heapq.heappop(self._timers)
            pipe.is_scheduled = False
            if pipe.sink.fileno() < 0 or connection.is_stranded:
                continue
            try:
                pipe.write()
            except OSError:
                self._drop(connection, reset=True)
                continue
            self._schedule(pipe, connection)
            self._watch(connection)

    def _watch(self, connection: Connection) -> None:
        if all(pipe.ended for pipe in connection.pipes):
            self._drop(connection, reset=False)
            return
        for side in (connection.client, connection.upstream):
            self._await(side.fileno(), connection.interest(side))

    def _await(self, descriptor: int, mask: int) -> None:
        """Without interest it is not even watched: a hang-up would be told on and on."""
        before = self._masks.get(descriptor, 0)
        if before == mask:
            return
        if mask:
            self._masks[descriptor] = mask
        else:
            del self._masks[descriptor]
        if self._stalled:
            return
        if not mask:
            self._epoll.unregister(descriptor)
        elif not before:
            self._epoll.register(descriptor, mask)
        else:
            self._epoll.modify(descriptor, mask)

    def _drop(self, connection: Connection, *, reset: bool) -> None:
        self._forget(connection)
        connection.close(reset=reset)

    def _forget(self, connection: Connection) -> None:
        for side in (connection.client, connection.upstream):
            self._await(side.fileno(), 0)
            del self._by_side[side.fileno()]

    # --- orders ------------------------------------------------------------------------------------------

    def _obey(self) -> None:
        received = os.read(self._orders, 4096)
        self._over = not received
        *lines, self._text = (self._text + received).split(b"\n")
        for line in lines:
            self._say(self._carry_out(line.decode().split()))

    def _carry_out(self, words: list[str]) -> str:
        match words:
            case ["delay", milliseconds]:
                self._one_way = float(milliseconds) / 2000
            case ["cut"]:
                self._cut()
            case ["strand"]:
                self._strand()
            case ["stall"] if not self._stalled:
                self._stalled = True
                for descriptor in self._masks:
                    self._epoll.unregister(descriptor)
            case ["go"] if self._stalled:
                self._stalled = False
                for descriptor, mask in self._masks.items():
                    self._epoll.register(descriptor, mask)
            case ["refuse"]:
                self._refuse()
            case ["accept"]:
                self._accept()
            case ["stall" | "go"]:
                pass  # it is so
            case _:
                return f"unknown order: {' '.join(words)}"
        return "ok"

    def _cut(self) -> None:
        for connection in self._connections():
            self._drop(connection, reset=True)

    def _strand(self) -> None:
        for connection in self._connections():
            self._forget(connection)
            connection.is_stranded = True
            self._stranded.append(connection)

    def _connections(self) -> list[Connection]:
        return list({id(connection): connection for connection, _ in self._by_side.values()}.values())

    def _refuse(self) -> None:
        if self._listener is not None:
            self._await(self._listener.fileno(), 0)
            self._listener.close()
            self._listener = None

    def _accept(self) -> None:
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port), backlog=1024)
            self._listener.setblocking(False)
            self.port = self._listener.getsockname()[1]
            self._await(self._listener.fileno(), READ)
