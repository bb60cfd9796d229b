"""The controlling terminal of the CLI, and whose process group is in its foreground."""

from __future__ import annotations

import os
import termios
from contextlib import suppress
from typing import Self


class Terminal:
    """`with Terminal() as terminal:` opens /dev/tty; a process without a terminal gets one that does nothing.

    The caller has SIGTTOU blocked: else setting the foreground from the background would stop it.
    """

    def __enter__(self) -> Self:
        try:
            self._fd = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:
            self._fd = -1
        return self

    def __exit__(self, *_error: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    @property
    def is_there(self) -> bool:
        return self._fd >= 0

    @property
    def is_ours(self) -> bool:
        """Whether our process group is in its foreground."""
        return self.foreground() == os.getpgrp()

    def fileno(self) -> int:
        return self._fd

    def foreground(self) -> int:
        """The process group in the foreground; 0 without a terminal, or after a hang-up."""
        try:
            return os.tcgetpgrp(self._fd) if self._fd >= 0 else 0
        except OSError:
            return 0

    def set_foreground(self, group: int) -> None:
        try:
            if self._fd >= 0:
                os.tcsetpgrp(self._fd, group)
        except OSError:
            pass  # hung up, or the group is gone: nobody is left to type


class SavedTerminal:
    """How the terminal and our standard streams are now, to be given to the next child as the first had them.

    A program that is killed leaves the terminal as it needed it (no echo, no newlines), and whoever set a
    stream to not blocking has set it for all who share it.
    """

    def __init__(self) -> None:
        self._modes = None
        with Terminal() as terminal, suppress(termios.error):
            if terminal.is_there:
                self._modes = termios.tcgetattr(terminal.fileno())
        self._blocking = {fd: os.get_blocking(fd) for fd in (0, 1, 2) if _is_open(fd)}

    def restore(self) -> None:
        """Put it back; the terminal only while our group has its foreground: else it is somebody else's."""
        for fd, blocking in self._blocking.items():
            with suppress(OSError):
                os.set_blocking(fd, blocking)
        with Terminal() as terminal, suppress(termios.error):
            if self._modes is not None and terminal.is_ours:
                termios.tcsetattr(terminal.fileno(), termios.TCSANOW, self._modes)


def forget_typed(fd: int) -> None:
    """Drop what was typed on the terminal and not read yet."""
    with suppress(termios.error):
        termios.tcflush(fd, termios.TCIFLUSH)


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
