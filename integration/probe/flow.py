"""Bytes that are counted: connections that send numbered bytes to an echo and check each that comes back.

    python3 flow.py http:8080 echo:7000 lazy:7002       asked by JSON lines on stdin, until its end
    python3 flow.py --stay echo:7000 ...                stdin is nobody's: until a signal ends it

`lazy` is an echo that reads nothing until it is asked to `read`, or somebody connects to the port after its.
Runs as a session's child and inside the cluster; speaks as probe.py does: `{"ask": ...}`, `{"is": ...}`.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

NOISE = random.Random(20).randbytes(1 << 20)
READ_ON = threading.Event()


def chunk(number: int, size: int) -> bytes:
    """The `number`th piece of a flow: its number, and noise that differs from its neighbours'."""
    start = number * 7919 % (len(NOISE) - size)
    return number.to_bytes(8, "big") + NOISE[start : start + size - 8]


class Flow:
    """One connection to an echo. It sends `size` bytes at a time, `per_second` times (0: without a pause)."""

    def __init__(self, host: str, port: int, size: int, per_second: float) -> None:
        self._socket = socket.create_connection((host, port), 60)
        self._socket.settimeout(None)
        self._size, self._per_second = size, per_second
        self.sent = self.back = 0
        self.wrong = ""
        self._sums = hashlib.blake2b(), hashlib.blake2b()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._send, self._check)]
        for thread in self._threads:
            thread.start()

    def look(self) -> dict[str, Any]:
        return {"sent": self.sent, "back": self.back, "wrong": self.wrong}

    def finish(self, seconds: float) -> dict[str, Any]:
        """Say no more and hear the rest; what is missing then is an error, too."""
        self._over.set()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        late = any(thread.is_alive() for thread in self._threads)
        self._socket.close()
        same = self._sums[0].digest() == self._sums[1].digest()
        return self.look() | {"late": late, "same": same}

    def _send(self) -> None:
        number = 0
        try:
            while not self._over.is_set():
                rest = memoryview(chunk(number, self._size))
                self._sums[0].update(rest)
                while rest:
                    count = self._socket.send(rest)
                    self.sent += count
                    rest = rest[count:]
                number += 1
                if self._per_second:
                    self._over.wait(1 / self._per_second)
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            self.wrong = self.wrong or f"cannot send after {self.sent} bytes: {error}"

    def _check(self) -> None:
        number, expected = 0, b""
        try:
            while data := self._socket.recv(1 << 18):
                self._sums[1].update(data)
                while len(expected) < len(data):
                    expected += chunk(number, self._size)
                    number += 1
                if not expected.startswith(data):
                    self.wrong = self.wrong or f"another byte than was sent, after {self.back}"
                expected = expected[len(data) :]
                self.back += len(data)
        except OSError as error:
            self.wrong = self.wrong or f"cannot receive after {self.back} bytes: {error}"


# -- who is connected to ----------------------------------------------------------------------------------


def listen(word: str) -> None:
    kind, _, port = word.partition(":")
    if kind == "http":
        server = BothFamilies(("", int(port)), Answer)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return
    serve(int(port), echo if kind == "echo" else lazy_echo)
    if kind == "lazy":
        serve(int(port) + 1, read_on)


def serve(port: int, handle: Callable[[socket.socket], None]) -> None:
    listener = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=handle, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def echo(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        while data := connection.recv(1 << 18):
            connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)


def lazy_echo(connection: socket.socket) -> None:
    READ_ON.wait()
    echo(connection)


def read_on(connection: socket.socket) -> None:
    READ_ON.set()
    connection.close()


class BothFamilies(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        text = json.dumps({"who": os.environ.get("PROBE_WHO", "")}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        pass


# -- who asks ---------------------------------------------------------------------------------------------


class Asked:
    """`ask_NAME` answers the question NAME; flows are known by a name of the asker's choice."""

    def __init__(self) -> None:
        self._flows: dict[str, Flow] = {}

    def ask_open(self, flow: str, host: str, port: int, size: int, per_second: float) -> bool:
        self._flows[flow] = Flow(host, port, size, per_second)
        return True

    def ask_look(self) -> dict[str, Any]:
        return {name: flow.look() for name, flow in self._flows.items()}

    def ask_finish(self, flow: str, at_most: float) -> dict[str, Any]:
        return self._flows.pop(flow).finish(at_most)

    def ask_connect(self, host: str, port: int) -> bool:
        socket.create_connection((host, port), 60).close()
        return True

    def ask_read(self) -> bool:
        READ_ON.set()
        return True

    def ask_established(self, port: int) -> int:
        """How many connections to that port of this network stand."""
        with open("/proc/net/tcp6") as table:
            ends = [line.split()[1:4] for line in table.readlines()[1:]]
        return sum(ours.endswith(f":{port:04X}") and state == "01" for ours, _theirs, state in ends)

    def ask_pid(self) -> int:
        return os.getpid()


def main(words: list[str]) -> None:
    stays = words[:1] == ["--stay"]
    for word in words[stays:]:
        listen(word)
    if stays:
        signal.sigwait([signal.SIGTERM])
        return
    asked = Asked()
    for line in sys.stdin:
        question = json.loads(line)
        answer: dict[str, Any]
        try:
            answer = {"is": getattr(asked, f"ask_{question.pop('ask')}")(**question)}
        except OSError as error:
            answer = {"error": {"kind": type(error).__name__, "errno": str(error.errno), "text": str(error)}}
        print(json.dumps(answer), flush=True)
    os._exit(0)


main(sys.argv[1:])
