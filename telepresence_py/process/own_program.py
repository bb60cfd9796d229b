"""Starts a module of this package as a process of its own, isolated from the user's Python settings."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress


class OwnProgram:
    """A child of ours. `descriptor` (a pidfd) is readable once it ended; then `finish` must be called."""

    def __init__(self, pid: int, process: subprocess.Popen[bytes] | None = None) -> None:
        self._process = process
        self.pid = pid
        self.descriptor = os.pidfd_open(pid)

    def kill(self) -> None:
        """SIGKILL, if it still runs."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.descriptor, signal.SIGKILL)

    def finish(self) -> int:
        """Reap it and close the descriptor; blocks while it runs. Returns the status as subprocess does."""
        if self._process is not None:
            status = self._process.wait()
        else:
            status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.descriptor)
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
