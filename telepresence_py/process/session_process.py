"""Starting the session process, in a terminal session of its own, and what is left of it when it fails."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from telepresence_py.model.errors import InternalError, SessionLost, TelepresenceError
from telepresence_py.process.door_socket import DoorSocket

SESSION_PROGRAM = (sys.executable, "-I", "-m", "telepresence_py.session")
"""The descriptor of its end of the door follows as the last word."""

_KEPT_SECONDS = 7 * 24 * 3600
_TAIL_LINES = 15


@dataclass(frozen=True)
class SessionProcess:
    """`door` is closed by the caller; `log` holds what the process wrote, readable by this user alone."""

    pid: int
    door: DoorSocket
    log: Path

    def verdict(self) -> TelepresenceError:
        """Why it ended without its last message; to be called once, after end of file on the door."""
        _pid, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            name = signal.Signals(-code).name
            return SessionLost(
                f"the session process was killed ({name}); the cluster goes back by itself when the grace "
                "period is over, and telepresence-py restore KIND/NAME --force does it at once"
            )
        return InternalError(
            f"the session process ended too early (exit code {code}); its log is {self.log}{self._tail()}"
        )

    def forget(self) -> None:
        """It ended well: its log is of no more use. Whatever it may still do, it does alone."""
        self.log.unlink(missing_ok=True)

    def _tail(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
        return "".join(f"\n  | {line}" for line in lines)


def start_session_process(directory: Path, program: Sequence[str] | None = None) -> SessionProcess:
    """Start it with its log in `directory` (0700). It survives a SIGKILL of our process group and a hang-up.

    It gets no signal blocked or ignored, whatever the caller has.
    """
    _remove_old_logs(directory)
    program = program or SESSION_PROGRAM
    log = directory / f"session-{os.getpid()}-{os.urandom(3).hex()}.log"
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    theirs.set_inheritable(True)
    with theirs:
        pid = os.posix_spawn(
            program[0],
            [*program, str(theirs.fileno())],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, os.fspath(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
            setsigmask=(),
            setsigdef=[signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGCHLD],
        )
    return SessionProcess(pid, DoorSocket(ours), log)


def _remove_old_logs(directory: Path) -> None:
    for path in directory.glob("session-*.log"):
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < time.time() - _KEPT_SECONDS:
                path.unlink()
