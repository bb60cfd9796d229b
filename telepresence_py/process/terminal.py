"""The controlling terminal of the CLI, and whose process group is in its foreground."""

from __future__ import annotations

import os
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
