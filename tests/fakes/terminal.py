"""A terminal with a person at it: types, reads what comes, waits with a deadline."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Mapping, Sequence
from typing import Self

DEADLINE_SECONDS = 20.0


class Person:
    """`with Person(command, environment) as person:` runs the command, leader of a session, on a terminal."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command = command
        self._environment = environment
        self.seen = ""
        self._consumed = 0

    def __enter__(self) -> Self:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            # the kernel sends the signal of a ^Z and then drops what was typed: we may type between the two
            modes = termios.tcgetattr(0)
            modes[3] |= termios.NOFLSH
            termios.tcsetattr(0, termios.TCSANOW, modes)
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
            os.execvpe(self._command[0], list(self._command), dict(self._environment))
        self._pidfd = os.pidfd_open(self.pid)
        return self

    def __exit__(self, *_error: object) -> None:
        self.hang_up()
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._pidfd)

    def types(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def resizes(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def hang_up(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def expects(self, pattern: str) -> re.Match[str]:
        """Read until the pattern is seen in what was not consumed yet; what precedes its end is consumed."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (match := re.compile(pattern).search(self.seen, self._consumed)) is None:
            if not self._read(deadline):
                raise AssertionError(f"{pattern!r} did not appear; this did: {self.seen[self._consumed :]!r}")
        self._consumed = match.end()
        return match

    def ends(self) -> int:
        """Wait for the command's end: its exit code, or minus a signal's number."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not select.select([self._pidfd], [], [], 0)[0]:
            if self._fd < 0:
                assert select.select([self._pidfd], [], [], DEADLINE_SECONDS)[0], "it does not end"
            elif not self._read(deadline, self._pidfd) and time.monotonic() > deadline:
                raise AssertionError(f"it does not end; seen: {self.seen!r}")
        _pid, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def _read(self, deadline: float, *others: int) -> bool:
        readable, _, _ = select.select([self._fd, *others], [], [], max(0.0, deadline - time.monotonic()))
        if self._fd not in readable:
            return bool(readable)
        try:
            data = os.read(self._fd, 65536)
        except OSError:
            return False  # the other end is closed
        self.seen += data.decode(errors="replace")
        return True
