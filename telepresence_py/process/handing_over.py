"""How the CLI gets the listener of its child's filter: it takes it, as whatever the child could send it by is
filtered already. Between fork and exec, so both ends are quick and say little.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
from typing import NoReturn, Self

from telepresence_py.process.answering import borrow, start_answering
from telepresence_py.process.call_words import Doors, child_filter
from telepresence_py.process.seccomp import give_up_privileges, install, machine

_ROOM = 1 << 16
_TRIAL_SECONDS = 5.0


def doors_of(descriptor: int) -> Doors:
    """What a file says, which stays the caller's."""
    return Doors.decode(os.pread(descriptor, _ROOM, 0))


class HandingOver:
    """Made before the fork. The child calls `install`, which waits for its parent's `take`; the parent leaves
    it when the child has become the command, or has failed."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._taken, self._tell = os.pipe2(os.O_CLOEXEC)

    def install(self) -> int:
        """In the child: from now on its calls are asked about. The number of the listener, for the parent."""
        os.close(self._tell)
        give_up_privileges()
        return install(child_filter(machine()))

    def wait(self) -> None:
        """In the child: until the parent has it; without a parent there is nothing to go on for."""
        if not os.read(self._taken, 1):
            os._exit(127)

    def take(self, pid: int, listener: int) -> None:
        """In the parent, which answers from now on."""
        start_answering(borrow(pid, listener), self._doors)
        os.write(self._tell, b"!")

    def give_up(self) -> None:
        """In the parent: the child, which waits, ends."""
        if self._tell >= 0:
            os.close(self._tell)
            self._tell = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self._taken)
        self.give_up()


def try_out() -> None:
    """Whether this machine lets us do all this: a process is filtered, asks, and is answered. OSError."""
    hidden = "/telepresence-py-is-not-there"
    doors = Doors("", {}, {}, {}, hidden=(hidden,))
    told, tell = os.pipe2(os.O_CLOEXEC)
    with open(told, "rb", buffering=0) as said, HandingOver(doors) as handing:
        pid = os.fork()
        if pid == 0:
            _ask_once(handing, tell, f"{hidden}/socket")
        os.close(tell)
        ended = os.pidfd_open(pid)
        try:
            words = said.read(_ROOM).decode()
            if words.isdigit():
                handing.take(pid, int(words))
                if not select.select([ended], [], [], _TRIAL_SECONDS)[0]:
                    raise OSError(errno.ETIMEDOUT, "a call that seccomp asks about was not answered")
                words = said.read(_ROOM).decode()
            number = int(words.partition(" ")[2] or errno.EPROTO)
        finally:
            signal.pidfd_send_signal(ended, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(ended)
    if number != errno.ECONNREFUSED:
        raise OSError(number, f"seccomp: {os.strerror(number)}")


def _ask_once(handing: HandingOver, tell: int, path: str) -> NoReturn:
    """The process of `try_out`: nobody listens there, which the kernel would call ENOENT."""
    try:
        os.write(tell, b"%d" % handing.install())
        handing.wait()
        with socket.socket(socket.AF_UNIX) as made:
            os.write(tell, b"failed %d" % made.connect_ex(path))
    except OSError as error:
        os.write(tell, b"failed %d" % (error.errno or errno.EPROTO))
    finally:
        os._exit(0)
