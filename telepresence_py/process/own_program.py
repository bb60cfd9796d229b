"""Starts a module of this package as a process of its own, isolated from the user's Python settings."""

from __future__ import annotations

import signal
import subprocess
import sys

from telepresence_py.process.ends import end_of


class OwnProgram:
    """A child of ours. `descriptor` is readable once it ended; then `finish` must be called."""

    def __init__(self, pid: int, process: subprocess.Popen[bytes] | None = None) -> None:
        self._process = process
        self._end = end_of(pid)
        self.pid = pid
        self.descriptor = self._end.fileno()

    def kill(self) -> None:
        """SIGKILL, if it still runs."""
        self._end.send(signal.SIGKILL)

    def finish(self) -> int:
        """Reap it and close the descriptor; blocks while it runs. Returns the status as subprocess does."""
        status = self._end.reap()
        if self._process is not None:
            self._process.returncode = status  # else it would wait for a process that may be another's by now
        return status


def start_own_program(module: str, inherited: int) -> OwnProgram:
    """`python -I -m MODULE FD` in a session of its own, with that descriptor alone; stdio is /dev/null.

    Blocks until it is started (milliseconds). Call it from a thread that lives as long as the program shall:
    a program may ask to die with that thread.
    """
    process = subprocess.Popen(
        [sys.executable, "-I", "-m", module, str(inherited)],
        pass_fds=[inherited],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    )
    return OwnProgram(process.pid, process)
