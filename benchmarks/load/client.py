"""Asks a server.py, measures, and tells: a line of JSON in for each figure, a line of JSON out.

    {"do": "up", "host": "127.0.0.1", "port": 7000, "size": 67108864, "streams": 8}
    {"seconds": 0.71}

`port` is that of the kind of server that is asked. An order that fails is answered by {"error": ...}, and the
next one is another try. Seconds are those of the monotonic clock; all else is in the functions of ORDERS.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

Answer = dict[str, Any]
WORD = b"e" * 64
REQUEST = b"GET / HTTP/1.1\r\nHost: bench\r\nAccept: */*\r\n\r\n"
ANSWER_SIZE = 194
"""Of the server's HTTP answer, with its head."""
PIECE = memoryview(bytes(256 << 10))
READ_BUFFER = bytearray(1 << 20)
PATIENCE = 60.0
AHEAD, PORTION = 32 << 20, 1 << 20
BETWEEN_ECHOES = 0.005
WARM_UP = 0.5
MOST_CONNECTIONS = 8000
"""One after the other or at once: the ports of ended ones are not free again for a minute."""


def connect(host: str, port: int) -> socket.socket:
    made = socket.create_connection((host, port), PATIENCE)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def up(host: str, port: int, size: int, streams: int = 1) -> Answer:
    """Seconds until the server has so many bytes, over new connections, shared among them evenly."""

    def send(share: int) -> None:
        with connect(host, port) as connection:
            connection.sendall(struct.pack(">Q", share))
            rest = share
            while rest:
                rest -= connection.send(PIECE[:rest])
            expect(connection, 1)

    return timed(send, size, streams)


def down(host: str, port: int, size: int, streams: int = 1) -> Answer:
    """The same from the server to here."""

    def receive(share: int) -> None:
        with connect(host, port) as connection:
            connection.sendall(struct.pack(">Q", share))
            expect(connection, share)

    return timed(receive, size, streams)


def expect(connection: socket.socket, size: int) -> None:
    buffer = memoryview(bytearray(min(size, 1 << 20)))
    while size:
        count = connection.recv_into(buffer[:size])
        if not count:
            raise ConnectionResetError(errno.ECONNRESET, "it ended before all was there")
        size -= count


def timed(work: Callable[[int], None], size: int, streams: int) -> Answer:
    failures: list[Exception] = []

    def run() -> None:
        try:
            work(size // streams)
        except OSError as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(streams)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return {"seconds": time.monotonic() - began}


def echo(host: str, port: int, seconds: float, beside: str = "", bulk_port: int = 0) -> Answer:
    """Round trips of 64 bytes on one open connection, one begun every 5 ms whether others are back or not.

    `beside` is "up" or "down": a process of its own moves bytes over another connection meanwhile, and `rate`
    is how many in a second.
    """
    with connect(host, port) as connection:
        if not beside:
            return {"round_trips": ping(connection, seconds)}
        told, tell = os.pipe()
        worker = os.fork()
        if not worker:
            os.close(told)
            move(beside, host, bulk_port, tell)
        os.close(tell)
        try:
            ping(connection, WARM_UP)
            round_trips = ping(connection, seconds)
        finally:
            os.kill(worker, signal.SIGTERM)
            with os.fdopen(told) as stream:
                said = stream.read()
            os.waitpid(worker, 0)
        return {"round_trips": round_trips, **json.loads(said)}


def ping(connection: socket.socket, seconds: float) -> list[float]:
    connection.setblocking(False)
    poll = select.poll()  # select(2) would know no descriptor beyond 1023
    poll.register(connection, select.POLLIN)
    begun: deque[float] = deque()
    round_trips: list[float] = []
    begin = time.monotonic()
    following, size = begin, 0
    while True:
        now = time.monotonic()
        is_over = now - begin >= seconds
        if is_over and not begun:
            return round_trips
        if now - begin > seconds + PATIENCE:
            raise TimeoutError("an echo did not come back")
        if now >= following and not is_over:
            connection.send(WORD)
            begun.append(now)
            following = max(following + BETWEEN_ECHOES, now)
        poll.poll(1000 if is_over else max(0.0, following - time.monotonic()) * 1000)
        try:
            received = connection.recv(4096)
        except BlockingIOError:
            continue
        if not received:
            raise ConnectionResetError(errno.ECONNRESET, "the echo ended")
        size += len(received)
        while size >= len(WORD):
            size -= len(WORD)
            round_trips.append(time.monotonic() - begun.popleft())


def move(direction: str, host: str, port: int, tell: int) -> None:
    """Until SIGTERM, and then until all that was begun is there. Never returns."""
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    try:
        connection = connect(host, port)
        connection.setblocking(False)
        moved = (Sending if direction == "up" else Receiving)(connection).run(over)
        connection.close()
        said: Answer = {"rate": moved}
    except OSError as error:
        said = {"rate": 0.0, "bulk_error": str(error)}
    os.write(tell, json.dumps(said).encode())
    os._exit(0)


class Sending:
    """Portions one after the other without a gap; at most AHEAD of them unanswered."""

    reads_at_once = 4096

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._out = memoryview(b"")
        self._owed = 0
        self._buffer = memoryview(bytearray(1 << 20))
        self._moved = 0

    def run(self, over: threading.Event) -> float:
        began = time.monotonic()
        ended = 0.0
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        while True:
            if over.is_set() and not ended:
                ended, moved = time.monotonic(), self._moved
            if ended and not self._out and self._idle():
                return moved / (ended - began)
            if not ended and not self._out:
                self._begin()
            poll.modify(self._connection, select.POLLIN | (select.POLLOUT if self._out else 0))
            poll.poll(50)
            self._write()
            self._read()

    def _idle(self) -> bool:
        return self._owed == 0

    def _begin(self) -> None:
        if self._owed * PORTION < AHEAD:
            self._out = memoryview(struct.pack(">Q", PORTION) + bytes(PORTION))
            self._owed += 1

    def _write(self) -> None:
        try:
            self._out = self._out[self._connection.send(self._out) :]
        except BlockingIOError:
            return

    def _read(self) -> None:
        try:
            count = self._connection.recv_into(self._buffer)
        except BlockingIOError:
            return
        if not count:
            raise ConnectionResetError(errno.ECONNRESET, "the bulk ended")
        self._took(count)

    def _took(self, count: int) -> None:
        self._owed -= count
        self._moved += count * PORTION


class Receiving(Sending):
    def _begin(self) -> None:
        if self._owed < AHEAD:
            self._out = memoryview(struct.pack(">Q", PORTION))
            self._owed += PORTION

    def _took(self, count: int) -> None:
        self._owed -= count
        self._moved += count


def connections(host: str, port: int, seconds: float, parallel: int = 1) -> Answer:
    """New connection, 64 bytes and their echo, close; again and again by so many at once. `round_trips` from
    before connect to the echo's last byte; `rate` per second."""
    return Asking((host, port), WORD, len(WORD), stays=False).run(seconds, parallel)


def requests(host: str, port: int, seconds: float, parallel: int = 16) -> Answer:
    """HTTP GETs over so many kept connections, each with one request under way."""
    return Asking((host, port), REQUEST, ANSWER_SIZE, stays=True).run(seconds, parallel)


class Asking:
    """Clients in one thread over epoll, each of which asks again once it has its whole answer."""

    def __init__(self, address: tuple[str, int], request: bytes, answer_size: int, *, stays: bool) -> None:
        self._address = address
        self._request = request
        self._answer_size = answer_size
        self._stays = stays
        self._epoll = select.epoll()
        self._clients: dict[int, tuple[socket.socket, float, int]] = {}
        self.round_trips: list[float] = []

    def run(self, seconds: float, parallel: int) -> Answer:
        began = time.monotonic()
        counted, until = 0, began
        for _ in range(parallel):
            self._connect()
        while self._clients:
            elapsed = time.monotonic() - began
            if elapsed > seconds + PATIENCE:
                raise TimeoutError("no answer came any more")
            goes_on = elapsed < seconds and (self._stays or len(self.round_trips) < MOST_CONNECTIONS)
            for descriptor, happened in self._epoll.poll(1):
                self._serve(descriptor, happened, goes_on)
            if goes_on:
                counted, until = len(self.round_trips), time.monotonic()
        return {"round_trips": self.round_trips, "rate": counted / (until - began)}

    def _connect(self) -> None:
        began = time.monotonic()
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(self._address)
        try:
            client.send(self._request)  # on loopback it is connected already
            awaited = select.EPOLLIN
        except BlockingIOError:
            awaited = select.EPOLLOUT
        self._clients[client.fileno()] = client, began, 0
        self._epoll.register(client.fileno(), awaited)

    def _serve(self, descriptor: int, happened: int, goes_on: bool) -> None:
        client, began, size = self._clients[descriptor]
        if happened & select.EPOLLOUT:
            client.send(self._request)  # an error of connect is told here
            self._epoll.modify(descriptor, select.EPOLLIN)
            return
        received = client.recv(4096)
        if not received:
            raise ConnectionResetError(errno.ECONNRESET, "it ended before the answer")
        size += len(received)
        if size < self._answer_size:
            self._clients[descriptor] = client, began, size
            return
        now = time.monotonic()
        self.round_trips.append(now - began)
        if self._stays and goes_on:
            self._clients[descriptor] = client, now, 0
            client.send(self._request)
            return
        del self._clients[descriptor]
        client.close()  # and so it is no longer waited for
        if goes_on:
            self._connect()


HELD: list[socket.socket] = []


def hold(host: str, port: int, count: int) -> Answer:
    """So many open connections in all, each of which has echoed once; what is too many is closed."""
    while len(HELD) > count:
        HELD.pop().close()
    while len(HELD) < count:
        fresh = [connect(host, port) for _ in range(min(50, count - len(HELD)))]
        for connection in fresh:
            connection.sendall(WORD)
        for connection in fresh:
            expect(connection, len(WORD))
        HELD.extend(fresh)
    return {"held": len(HELD)}


def look_up(name: str) -> Answer:
    """Seconds until the system's resolver has the name's addresses."""
    began = time.monotonic()
    socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)
    return {"seconds": time.monotonic() - began}


def read(path: str) -> Answer:
    """Seconds until a file, or all that are found below a directory, are read; how many; their bytes."""
    files = size = 0
    began = time.monotonic()
    below = (os.path.join(where, name) for where, _, names in os.walk(path) for name in names)
    for each in below if os.path.isdir(path) else (path,):
        with open(each, "rb", buffering=0) as file:
            while count := file.readinto(READ_BUFFER):
                size += count
        files += 1
    return {"seconds": time.monotonic() - began, "files": files, "bytes": size}


ORDERS: dict[str, Callable[..., Answer]] = {
    "up": up,
    "down": down,
    "echo": echo,
    "connections": connections,
    "requests": requests,
    "hold": hold,
    "look_up": look_up,
    "read": read,
}


def main() -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    print(json.dumps({"ready": os.getpid()}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = ORDERS[order.pop("do")](**order)
        except (OSError, ValueError, RuntimeError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
