"""A terminal with one program in it: keys go in, what stands on the screen comes out."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import threading
from collections.abc import Mapping

from integration.support.plain_user import PlainUser
from integration.support.waiting import wait_until

INTERRUPT, SUSPEND, END_OF_FILE = b"\x03", b"\x1a", b"\x04"


class Terminal:
    """A pseudo terminal whose session is led by `command`, run as `user`; `close` by whoever made it."""

    def __init__(self, command: list[str], environment: Mapping[str, str], user: PlainUser) -> None:
        self._ours, theirs = os.openpty()
        user_side = os.ttyname(theirs)
        if os.geteuid() == 0:
            os.chown(user_side, user.uid, user.gid)
        self.resize(24, 80)
        self._seen = b""
        self.process: subprocess.Popen[bytes] = subprocess.Popen(  # type: ignore[call-overload]
            # setsid rather than preexec_fn, which must not be used in a process with threads
            ["/usr/bin/setsid", "--ctty", *command],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=user.home,
            env=dict(environment),
            **user.popen_arguments(),
        )
        os.close(theirs)
        self._told_to_close, self._close_word = os.pipe()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        # a terminal that somebody reads from is not hung up by close(2)
        with contextlib.suppress(OSError):  # EIO: nobody has the other side open any more
            while self._told_to_close not in select.select([self._ours, self._told_to_close], [], [])[0]:
                self._seen += os.read(self._ours, 65536)

    @property
    def screen(self) -> str:
        """Everything written so far, with the terminal's own line ends made plain."""
        return self._seen.decode(errors="replace").replace("\r\n", "\n")

    def type(self, keys: bytes | str) -> None:
        os.write(self._ours, keys.encode() if isinstance(keys, str) else keys)

    def wait_screen(self, pattern: str, seconds: float = 90, after: int = 0) -> re.Match[str]:
        """The first match of a regular expression on what was written behind position `after`."""
        sought = re.compile(pattern, re.MULTILINE)
        return wait_until(
            lambda: sought.search(self.screen, after),
            seconds,
            f"the terminal shows {pattern!r}",
            seen=lambda: self.screen[after:],
        )

    def resize(self, rows: int, columns: int) -> None:
        """The kernel tells the foreground process group by SIGWINCH."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    @property
    def pid(self) -> int:
        return self.process.pid

    def foreground_group(self) -> int:
        return os.tcgetpgrp(self._ours)

    def wait(self, seconds: float = 60) -> int:
        """The exit code, as a shell would tell it."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds:g} s:\n{self.screen}") from None
        return code if code >= 0 else 128 - code

    def close(self) -> None:
        """Hang up, as a window that is closed does; may be called twice."""
        if self._ours >= 0:
            os.close(self._close_word)
            self._reader.join()
            os.close(self._told_to_close)
            os.close(self._ours)
            self._ours = -1
