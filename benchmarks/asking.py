"""A load client that runs somewhere, here, in a pod or as a session's child, and is asked from here."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from .pods import LOAD

PATIENCE = 90.0
Answer = dict[str, Any]


class Failed(Exception):
    """What was asked could not be measured; the message says why."""


class Client:
    """A process that runs load/client.py; it takes one order at a time. Whoever started it ends it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._in_time = True
        self._text = b""
        if "ready" not in self.answer():
            raise Failed("the load's client did not start")

    @property
    def lives(self) -> bool:
        return self._in_time and self._process.poll() is None

    def ask(self, do: str, *, patience: float = PATIENCE, **order: object) -> Answer:
        """Failed when it could not be done; one that was silent for `patience` seconds is of no more use."""
        self.send({"do": do, **order})
        answer = self.answer(patience)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    def send(self, order: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise Failed(f"the load's client is gone ({error})") from error

    def answer(self, seconds: float = PATIENCE) -> Answer:
        assert self._process.stdout is not None
        deadline = time.monotonic() + seconds
        descriptor = self._process.stdout.fileno()
        while b"\n" not in self._text:
            if not select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
                self._in_time = False
                raise Failed(f"no answer within {seconds:g} s")
            received = os.read(descriptor, 1 << 20)
            if not received:
                raise Failed("the load's client ended")
            self._text += received
        line, _, self._text = self._text.partition(b"\n")
        answer: Answer = json.loads(line)
        return answer


@contextlib.contextmanager
def client(command: Sequence[str] = (sys.executable, str(LOAD / "client.py"))) -> Iterator[Client]:
    """One on this machine, unless the command leads elsewhere."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    try:
        yield Client(process)
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
