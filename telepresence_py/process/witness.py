"""Tells whether a signal was sent to our whole process group or to the CLI alone.

The CLI forwards to the child what was sent to the CLI alone; what the group got, the child has already. The
kernel does not tell the receiver which it was. So a witness sits in the same group, with every signal blocked
and nothing else to do: what is pending there was sent to the group.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
from pathlib import Path
from typing import NoReturn, Self

from telepresence_py.process import kernel

_NAME = b"tp-witness"
_PR_SET_NAME = 15
# kill(2) walks the group newest first, so the witness has the signal before the CLI; this is for doubt
_PATIENCE_SECONDS = 0.01
_ANSWER_SECONDS = 1.0
_HIGHEST_DESCRIPTOR = 1 << 20


class Witness:
    """`with Witness() as witness:` forks it; it ends with the block, or with this process."""

    def __enter__(self) -> Self:
        self._fork()
        return self

    def __exit__(self, *_error: object) -> None:
        self._end()

    def also_got(self, number: int) -> bool:
        """Whether the signal, which the CLI got just now, reached the witness too. Asked once per signal."""
        try:
            self._line.send(bytes([number]))
            return self._line.recv(1) == b"y"
        except OSError:
            # dead, or stopped by a SIGSTOP to the group after which the CLI alone was continued: start afresh
            self._end()
            self._fork()
            return False

    def _fork(self) -> None:
        self._line, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._line.settimeout(_ANSWER_SECONDS)
        self._pid = os.fork()
        if self._pid == 0:
            _watch(other.fileno())
        other.close()

    def _end(self) -> None:
        self._line.close()
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)


def _watch(line: int) -> NoReturn:
    """The witness's life. No descriptor of the CLI's stays open: a reader of its pipes must see their end."""
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        kernel.die_with_parent()
        _rename()
        os.closerange(0, line)
        os.closerange(line + 1, _HIGHEST_DESCRIPTOR)
        while request := os.read(line, 1):
            seen = signal.sigtimedwait(request, _PATIENCE_SECONDS)
            os.write(line, b"y" if seen else b"n")
    finally:
        os._exit(0)


def _rename() -> None:
    """Drop the CLI's name and command line: `pkill -f` aims at the CLI, yet would look like a group's."""
    name = ctypes.create_string_buffer(_NAME)
    kernel.prctl(_PR_SET_NAME, ctypes.addressof(name))
    fields = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    start, end = int(fields[45]), int(fields[46])
    ctypes.memset(start, 0, end - start)
    ctypes.memmove(start, _NAME, min(len(_NAME), end - start - 1))
