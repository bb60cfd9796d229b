"""Starts a module of this package through sudo, as who we are, but with the right to make a user namespace.

What runs as root is sudo and setpriv(1), with an argv that is always the same for a user: nothing in it is
chosen by the command, its pod or a session. Our module runs as the user, with CAP_SYS_ADMIN and nothing else,
which is what kernels ask for that keep user namespaces from plain users.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from socket import socket as Socket

_RIGHT = "sys_admin"
_STDIN = 0


def raised_command(
    setpriv: str, module: str, where: str = str(_STDIN), how: str = "raised"
) -> tuple[str, ...]:
    """What root shall run; `setpriv` is its path. The module's words say where it finds the session, for
    sudo a socket on descriptor 0, and how it lives."""
    groups = ",".join(str(group) for group in sorted(set(os.getgroups())))
    return (
        setpriv,
        *("--reuid", str(os.getuid()), "--regid", str(os.getgid())),
        *(("--groups", groups) if groups else ("--clear-groups",)),
        *("--inh-caps", f"+{_RIGHT}", "--ambient-caps", f"+{_RIGHT}", "--bounding-set", f"-all,+{_RIGHT}"),
        *("--", _interpreter(), "-I", "-m", module, where, how),
    )


def _interpreter() -> str:
    """Ours, by the one of its names that does not depend on how the CLI was started."""
    usual = os.path.join(sys.prefix, "bin", "python3")
    with suppress(OSError):
        if os.path.samefile(usual, sys.executable):
            return usual
    return sys.executable


def sudoers_line(user: str, command: Sequence[str]) -> str:
    """PURE. The line of sudoers(5) that lets the user run exactly this without a password."""
    words = (re.sub(r"([\\,:=*?\[\]!\s])", r"\\\1", word) for word in command)
    return f"{user} ALL=(root) NOPASSWD: {' '.join(words)}"


class RaisedProgram:
    """sudo, and below it our module, which says on its socket that the process with number `pid` goes on in
    its place. `descriptor` is readable once sudo, and with it all, has ended; then `finish` must be called.
    `last_words` are what was written to stderr, known from then on.
    """

    def __init__(self, process: subprocess.Popen[bytes], said: int) -> None:
        self._process = process
        self._said = said
        self._heir: int | None = None
        self.last_words = ""
        self.pid = process.pid
        self.descriptor = os.pidfd_open(process.pid)

    def is_continued_by(self, pid: int) -> None:
        self.pid = pid
        with suppress(ProcessLookupError):
            self._heir = os.pidfd_open(pid)

    def kill(self) -> None:
        """SIGKILL to what is ours: sudo is root's, and ends with it."""
        if self._heir is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._heir, signal.SIGKILL)

    def finish(self) -> int:
        status = self._process.wait()
        with open(self._said, "rb") as file:
            file.seek(0)
            self.last_words = " ".join(file.read().decode(errors="replace").split())
        os.close(self.descriptor)
        if self._heir is not None:
            os.close(self._heir)
        return status


def start_raised(sudo: str, command: Sequence[str], control: Socket) -> RaisedProgram:
    """Run it with `control` as its stdin; sudo asks nobody for a password. Never in a terminal's session: it
    would be given a terminal of its own there."""
    said = os.memfd_create("said")
    process = subprocess.Popen(
        [sudo, "-n", "--", *command],
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
        stdin=control.fileno(),
        stdout=subprocess.DEVNULL,
        stderr=said,
        start_new_session=True,
        cwd="/",
    )
    return RaisedProgram(process, said)
