"""The first process (pid 1) of the child's process namespace: reaps orphans, and is the namespace's life.

The command itself cannot be pid 1: signals without a handler, such as ^C, never reach it.
"""

from __future__ import annotations

import os
import signal
from typing import NoReturn

from telepresence_py.process.kernel import (
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    die_with_parent,
    mount,
)

_NO_PROC = "the command sees the laptop's /proc, with other process ids than its own: {reason}"


def start_first_process() -> tuple[int, tuple[str, ...]]:
    """Fork it; to be called after unshare(CLONE_NEWPID). Returns its pid and notices, once it stands."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _live(writing)
    os.close(writing)
    with open(reading) as pipe:
        said = pipe.read()
    if not said.startswith("stands\n"):
        os.waitpid(pid, 0)
        raise OSError(0, said or "it ended at once")
    return pid, tuple(said.splitlines()[1:])


def _live(report: int) -> NoReturn:
    try:
        die_with_parent()
        notice = _mount_proc()
        # a parent that died before it could be noticed has closed the other end: then this ends us
        os.write(report, f"stands\n{notice}".encode())
        os.closerange(0, os.sysconf("SC_OPEN_MAX"))
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM})
        while True:
            signal.sigwait({signal.SIGCHLD})
            _reap()
    finally:
        os._exit(1)


def _mount_proc() -> str:
    """A /proc that shows the new namespace. Refused where the laptop's own is masked, as in containers."""
    try:
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except OSError as error:
        return _NO_PROC.format(reason=error.strerror)
    return ""


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return
