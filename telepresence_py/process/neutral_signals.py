"""Signals of the CLI where there is no signalfd: taken by handlers that do nothing, told by number alone.

Who sent one is not known. So a witness, which sits in our process group with every signal blocked, is asked
whether it has that signal, too: then it was sent to the group. However late it answers, it tells what it had
when it was asked. It is a Python, as no shell knows sigpending(2).
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Self

from telepresence_py.model.errors import PreconditionFailed
from telepresence_py.process.kernel import SignalReceived
from telepresence_py.process.witness import inheritable

_WITNESS = """
import os, signal
# else a system may drop what is ignored by default, though it is blocked
for each in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(each, lambda *_: None)
while asked := os.read(0, 1):
    if got := asked[0] in signal.sigpending():
        signal.sigwait({asked[0]})
    os.write(1, bytes((got,)))
"""
_ROOM = 4096
_PATIENCE_SECONDS = 0.01  # within which a signal to a group has reached all of it
_ANSWER_SECONDS = 5.0


class HandledSignals:
    """The signals as they come, until `close`, but for those that are ignored. For the main thread."""

    def __init__(self, numbers: Iterable[signal.Signals]) -> None:
        self._inbox, self._wakeup = socket.socketpair()
        for end in (self._inbox, self._wakeup):
            end.setblocking(False)
        self._before_fd = signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        self._before = {
            number: signal.signal(number, _nothing)
            for number in numbers
            if signal.getsignal(number) is not signal.SIG_IGN
        }

    def fileno(self) -> int:
        return self._inbox.fileno()

    def read(self) -> list[SignalReceived]:
        try:
            numbers = self._inbox.recv(_ROOM)
        except BlockingIOError:
            return []
        # of handlers that became due together the last one runs first; but what a child died of came before
        # its death
        in_order = sorted(numbers, key=signal.SIGCHLD.__eq__)
        return [SignalReceived(number, 0, 0, 0, 0) for number in in_order if number in self._before]

    def close(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._before_fd)
        self._inbox.close()
        self._wakeup.close()


def stop_self(number: int) -> None:
    """Stop this process by the signal, whatever handles or blocks it; returns when it was continued."""
    handler = None if number == signal.SIGSTOP else signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    blocked = signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    if handler is not None:
        signal.signal(number, handler)


class AskedWitness:
    """As `witness.Witness`."""

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._end()

    def also_got(self, number: int) -> bool:
        """Whether the signal, which the CLI got just now, reached the witness too. Asked once per signal."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while (got := self._has(number)) is False and time.monotonic() < deadline:
            pass
        if got is None:  # it was killed or stopped with the group, or by somebody
            self._end()
            self._start()
        return bool(got)

    def _has(self, number: int) -> bool | None:
        try:
            self._line.send(bytes((number,)))
            answer = self._line.recv(1)
        except OSError:
            return None
        return answer == b"\1" if answer else None

    def _start(self) -> None:
        self._line, theirs = socket.socketpair()
        self._line.settimeout(_ANSWER_SECONDS)
        with theirs:
            try:
                self._pid = os.posix_spawn(
                    sys.executable,
                    [sys.executable, "-I", "-S", "-c", _WITNESS],
                    {},
                    file_actions=[
                        *((os.POSIX_SPAWN_DUP2, theirs.fileno(), number) for number in (0, 1)),
                        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                        *((os.POSIX_SPAWN_CLOSE, each) for each in inheritable("/dev/fd") if each > 2),
                    ],
                    setsigmask=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
                )
            except OSError as error:
                self._line.close()
                raise PreconditionFailed(f"{sys.executable} cannot be executed: {error.strerror}") from error

    def _end(self) -> None:
        self._line.close()
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)


def _nothing(_number: int, _frame: object) -> None:
    """Its being called is all: see signal.set_wakeup_fd."""
