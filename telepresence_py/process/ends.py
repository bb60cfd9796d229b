"""The end of a child of ours as something to wait for: a pidfd with Linux, elsewhere a thread that waits."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import Protocol

from telepresence_py import system


class End(Protocol):
    """`fileno` is readable once the child ended. `reap` then gives its status as subprocess does, and closes
    this; it blocks while the child runs. `send` a signal unless it has ended."""

    def fileno(self) -> int: ...

    def send(self, number: int) -> None: ...

    def reap(self) -> int: ...


def end_of(pid: int) -> End:
    if system.LINUX:
        from telepresence_py.process.pidfd import Pidfd

        return Pidfd(pid)
    return _Waiting(pid)


class _Waiting:
    """The thread alone waits for the process: two who do would take the status from each other."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._status: int | None = None
        import threading  # what Linux does without

        self._told, self._tells = socket.socketpair()
        self._thread = threading.Thread(target=self._wait, daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        return self._told.fileno()

    def send(self, number: int) -> None:
        if self._status is None:
            with suppress(ProcessLookupError):
                os.kill(self._pid, number)

    def reap(self) -> int:
        self._thread.join()
        self._told.close()
        assert self._status is not None
        return self._status

    def _wait(self) -> None:
        self._status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        self._tells.close()
