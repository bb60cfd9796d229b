"""How a test asks a running probe: over the stdin and stdout of whatever process carries it.

The carrier is the CLI with the probe as its child, `kubectl exec` into a pod, or the probe itself: the
questions and the answers are the same, so what a child sees can be compared with what a pod sees.
"""

from __future__ import annotations

import base64
import json
import os
import selectors
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PYTHON_PROBE = HERE / "probe.py"
SHELL_PROBE = HERE / "probe.sh"
LOAD = HERE / "load.py"
FLOW = HERE / "flow.py"


class ProbeError(Exception):
    """What the probe met when it tried: `kind` is Python's class name, `errno` a symbol or empty."""

    def __init__(self, kind: str, errno: str, text: str) -> None:
        super().__init__(f"{kind} {errno}: {text}")
        self.kind, self.errno = kind, errno


class ProbeGone(Exception):
    """The carrier ended, or did not answer in time."""


@dataclass
class Probe:
    """A probe that answers; whoever started `carrier` (with stdin and stdout piped, unbuffered) ends it."""

    carrier: subprocess.Popen[bytes]
    _unread: bytes = b""

    def ask(self, question: str, seconds: float = 60.0, **arguments: Any) -> Any:
        """The answer; ProbeError when the probe could not do it, ProbeGone when none came in time."""
        assert self.carrier.stdin is not None
        line = json.dumps({"ask": question} | arguments) + "\n"
        try:
            self.carrier.stdin.write(line.encode())
            self.carrier.stdin.flush()
        except BrokenPipeError:
            raise ProbeGone(f"asked {question}: the probe's stdin is closed") from None
        answer = json.loads(self.read_line(seconds))
        if "error" in answer:
            raise ProbeError(**answer["error"])
        return answer["is"]

    def tell(self, question: str, **arguments: Any) -> None:
        """Ask what cannot be answered (`die`)."""
        assert self.carrier.stdin is not None
        self.carrier.stdin.write((json.dumps({"ask": question} | arguments) + "\n").encode())
        self.carrier.stdin.flush()

    def wait_caught(self, names: list[str], seconds: float = 60.0) -> None:
        """Until the probe caught at least these signals, which it was asked to `catch`; ProbeGone if not."""
        deadline = time.monotonic() + seconds
        while not set(names) <= set(self.ask("caught")):
            if time.monotonic() > deadline:
                raise ProbeGone(f"{names} were not caught within {seconds:g} s")

    def content(self, path: str) -> bytes:
        """The content of a file as the probe sees it."""
        return base64.b64decode(self.ask("file", path=path)["content"])

    def read_line(self, seconds: float) -> bytes:
        assert self.carrier.stdout is not None
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as ready:
            ready.register(self.carrier.stdout, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                if not ready.select(max(0.0, deadline - time.monotonic())):
                    raise ProbeGone(f"no answer within {seconds:g} s")
                piece = os.read(self.carrier.stdout.fileno(), 65536)
                if not piece:
                    raise ProbeGone(f"the probe's stdout is closed; it said last: {self._unread!r}")
                self._unread += piece
        line, _, self._unread = self._unread.partition(b"\n")
        return line
