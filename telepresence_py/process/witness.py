"""Tells whether a signal was sent to our whole process group or to the CLI alone.

The CLI forwards to the child what was sent to the CLI alone; what the group got, the child has already. The
kernel does not tell the receiver which it was. So a witness sits in the same group, with every signal blocked
and nothing else to do: what is pending there was sent to the group, and /proc shows what is pending.

The witness is a shell, a tenth of a Python in memory. All that it does is to forget a signal: one that is set
to be ignored is no longer pending, even if it is blocked (sigaction(2)).
"""

from __future__ import annotations

import os
import signal
import socket
import time
from typing import Self

from telepresence_py import system
from telepresence_py.model.errors import PreconditionFailed

_SHELL = "/bin/sh"
_NAME = "tp-witness"
_LIFE = f"echo {_NAME} >/proc/$$/comm; while read -r n; do trap '' $n; trap - $n; echo; done"
# kill(2) walks the group newest first, so the witness has the signal before the CLI; this is for doubt
_PATIENCE_SECONDS = 0.01
_LOOK_SECONDS = 0.001
_ANSWER_SECONDS = 1.0


class Witness:
    """`with Witness() as witness:` starts it; it ends with the block, or with this process."""

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._end()

    def also_got(self, number: int) -> bool:
        """Whether the signal, which the CLI got just now, reached the witness too. Asked once per signal."""
        got = self._has_within(number, _PATIENCE_SECONDS)
        if self._is_dead() or (got and not self._forgets(number)):
            self._end()
            self._start()
        return got

    def _has_within(self, number: int, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not (found := self._has(number)) and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
        return found

    def _has(self, number: int) -> bool:
        with open(f"/proc/{self._pid}/status", encoding="utf-8", errors="replace") as file:
            pending = next((line.split()[1] for line in file if line.startswith("ShdPnd:")), "0")
        return bool(int(pending, 16) >> (number - 1) & 1)

    def _is_dead(self) -> bool:
        if not system.LINUX:
            raise NotImplementedError
        return os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _forgets(self, number: int) -> bool:
        """False when it is stopped: by a SIGSTOP to the group, after which the CLI alone was continued."""
        try:
            self._line.send(b"%d\n" % number)
            return bool(self._line.recv(1))
        except OSError:
            return False

    def _start(self) -> None:
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._line.settimeout(_ANSWER_SECONDS)
        ends = [(os.POSIX_SPAWN_DUP2, theirs.fileno(), number) for number in (0, 1)]
        # nothing of the CLI's stays open: a reader of its pipes must see their end
        others = [(os.POSIX_SPAWN_CLOSE, each) for each in inheritable() if each > 1]
        with theirs:
            try:
                self._pid = os.posix_spawn(
                    _SHELL,
                    # no word of the CLI's: `pkill -f` aims at the CLI, yet would look like a group's
                    ["sh", "-c", _LIFE, _NAME],
                    {},
                    file_actions=[*ends, *others],
                    setsigmask=signal.valid_signals(),
                    setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
                )
            except OSError as error:
                self._line.close()
                raise PreconditionFailed(f"{_SHELL} cannot be executed: {error.strerror}") from error

    def _end(self) -> None:
        self._line.close()
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)


def inheritable(listing: str = "/proc/self/fd") -> list[int]:
    """Open descriptors that a program which we start would get; those of Python's own making are not.

    `listing` is the directory of those that are open: other systems have /dev/fd.
    """
    found = []
    for each in map(int, os.listdir(listing)):
        try:
            if os.get_inheritable(each):
                found.append(each)
        except OSError:  # that of the listing itself
            continue
    return found
