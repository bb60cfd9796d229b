"""seccomp filters that ask another process what shall become of a system call: seccomp_unotify(2).

Standard library only: the process that becomes the child installs its filter by it.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from telepresence_py.process.kernel import prctl

ALLOW, ASK = 0x7FFF_0000, 0x7FC0_0000
_ERRNO = 0x0005_0000


class Machine(NamedTuple):
    """An architecture: its number for audit (<linux/audit.h>) and those of its system calls."""

    audit: int
    seccomp: int
    connect: int
    sendto: int
    sendmsg: int
    sendmmsg: int
    unshare: int
    clone: int
    compat_audit: int
    """Of the 32-bit programs that it runs, too; theirs are the numbers behind `compat_sockets`, by which
    they make sockets."""
    compat_sockets: tuple[int, ...]


MACHINES = {
    "x86_64": Machine(0xC000_003E, 317, 42, 44, 46, 307, 272, 56, 0x4000_0003, (102, 359)),
    "aarch64": Machine(0xC000_00B7, 277, 203, 206, 211, 269, 97, 220, 0x4000_0028, (281,)),
}
CLONE3, IO_URING_SETUP = 435, 425
"""The same on every architecture."""

# <linux/filter.h>: load a word of seccomp_data, compare it, return
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16

_SET_MODE_FILTER, _NEW_LISTENER, _WAIT_KILLABLE = 1, 1 << 3, 1 << 5
_NO_NEW_PRIVS = 38

# <linux/seccomp.h>: struct seccomp_notif, seccomp_notif_resp; the calls of its descriptor
_QUESTION, _ANSWER = "=QIIiIQ6Q", "=QqiI"
_RECEIVE, _SEND, _IS_VALID = 0xC050_2100, 0xC018_2101, 0x4008_2102
_CONTINUE = 1

_libc = ctypes.CDLL(None, use_errno=True)


class Step(NamedTuple):
    """One step of a filter, and how many steps behind it to skip if its comparison holds, or does not."""

    code: int
    value: int
    if_so: int = 0
    else_: int = 0


def refuse(error: int) -> int:
    """What a filter returns to fail a call with that errno."""
    return _ERRNO | error


def when_number(number: int, then: Sequence[Step]) -> list[Step]:
    """`then` for the system call of that number; it has to return. Expects the number to be loaded."""
    return [Step(_EQUAL, number, 0, len(then)), *then]


def when_number_from(number: int, then: Sequence[Step]) -> list[Step]:
    """The same for that number and all above."""
    return [Step(_AT_LEAST, number, 0, len(then)), *then]


def when_architecture(audit: int, then: Sequence[Step]) -> list[Step]:
    """The same of the architecture, which it loads; `then` finds the number loaded."""
    inner = [Step(_LOAD, _NUMBER), *then]
    return [Step(_LOAD, _ARCHITECTURE), Step(_EQUAL, audit, 0, len(inner)), *inner]


def when_argument_has(index: int, bits: int, then: Sequence[Step]) -> list[Step]:
    """`then` if the lower half of that argument has any of the bits; the argument stays loaded."""
    low = Step(_LOAD, _ARGUMENTS + 8 * index)
    return [low, Step(_ANY_BIT, bits, 0, len(then)), *then]


def when_argument_is_null(index: int, then: Sequence[Step]) -> list[Step]:
    """`then` if both halves of that argument are zero; the argument stays loaded."""
    low, high = _ARGUMENTS + 8 * index, _ARGUMENTS + 8 * index + 4
    zero_high = [Step(_LOAD, high), Step(_EQUAL, 0, 0, len(then)), *then]
    return [Step(_LOAD, low), Step(_EQUAL, 0, 0, len(zero_high)), *zero_high]


def answer(value: int) -> list[Step]:
    """The end: ALLOW, ASK or `refuse(...)`."""
    return [Step(_RETURN, value)]


def machine() -> Machine:
    """Ours; OSError where its numbers are not known."""
    known = MACHINES.get(os.uname().machine)
    if known is None:
        raise OSError(errno.ENOSYS, f"seccomp is not known for the architecture {os.uname().machine}")
    return known


def give_up_privileges() -> None:
    """No program that is executed from now on gets more rights than we have (PR_SET_NO_NEW_PRIVS), which is
    what lets a plain user install a filter."""
    prctl(_NO_NEW_PRIVS, 1)


def install(steps: Sequence[Step]) -> int:
    """Install the filter in this thread and all that it starts; returns the listener's descriptor, close-on-
    exec. Until somebody reads that, what the filter asks for waits. EBUSY where another filter asks already.
    """
    packed = b"".join(struct.pack("=HBBI", step.code, step.if_so, step.else_, step.value) for step in steps)
    program = ctypes.create_string_buffer(packed, len(packed))
    header = struct.pack("@HP", len(steps), ctypes.addressof(program))
    number = ctypes.c_long(machine().seccomp)
    for flags in (_NEW_LISTENER | _WAIT_KILLABLE, _NEW_LISTENER):  # the first is of Linux 5.19
        made = int(_libc.syscall(number, ctypes.c_uint(_SET_MODE_FILTER), ctypes.c_uint(flags), header))
        if made >= 0:
            return made
        if ctypes.get_errno() != errno.EINVAL:
            break
    raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")


class Question(NamedTuple):
    """A system call that waits: of which thread, which number, and with what arguments."""

    id: int
    thread: int
    number: int
    arguments: tuple[int, ...]


def receive(listener: int) -> Question | None:
    """The next one; waits for it. None when it is no more, or nobody is left who could ask."""
    packed = bytearray(struct.calcsize(_QUESTION))
    try:
        fcntl.ioctl(listener, _RECEIVE, packed)
    except OSError:
        return None
    question, thread, _flags, number, _audit, _pointer, *arguments = struct.unpack(_QUESTION, packed)
    return Question(question, thread, number, tuple(arguments))


def is_valid(listener: int, question: Question) -> bool:
    """Whether it still waits: if so, what was read of its thread since `receive` was its own."""
    try:
        fcntl.ioctl(listener, _IS_VALID, struct.pack("=Q", question.id))
    except OSError:
        return False
    return True


def let_go_on(listener: int, question: Question) -> None:
    """The kernel carries the call out as it is."""
    _send(listener, struct.pack(_ANSWER, question.id, 0, 0, _CONTINUE))


def return_value(listener: int, question: Question, value: int) -> None:
    """The call returns that, and nothing else happens; for minus an errno it fails with that."""
    error = min(value, 0)
    _send(listener, struct.pack(_ANSWER, question.id, max(value, 0), error, 0))


def _send(listener: int, packed: bytes) -> None:
    with suppress(FileNotFoundError):  # who asked is gone
        fcntl.ioctl(listener, _SEND, packed)
