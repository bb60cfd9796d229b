"""Linux calls that Python 3.11 does not offer, as thin ctypes wrappers.

Standard library only and quick to import: the namespace agent and the process that becomes the child live on
it. Each wrapper raises OSError whose message names the call and what it was applied to.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import struct
from collections.abc import Iterable
from typing import NamedTuple

CLONE_NEWNS = 0x0002_0000
CLONE_NEWUTS = 0x0400_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWPID = 0x2000_0000
CLONE_NEWNET = 0x4000_0000

MS_RDONLY = 1 << 0
MS_NOSUID = 1 << 1
MS_NODEV = 1 << 2
MS_NOEXEC = 1 << 3
MS_REMOUNT = 1 << 5
MS_BIND = 1 << 12
MS_REC = 1 << 14
MS_SLAVE = 1 << 19

MNT_DETACH = 2

PR_SET_PDEATHSIG = 1

_CLONE_PARENT = 0x0000_8000
_CLONE_NUMBERS = {"x86_64": 56, "aarch64": 220, "riscv64": 220, "ppc64le": 120}
_PIVOT_ROOT_NUMBERS = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "s390x": 217, "ppc64le": 203}
_SFD_NONBLOCK_CLOEXEC = 0o4000 | 0o2000000
_TFD_NONBLOCK_CLOEXEC = 0o4000 | 0o2000000
_CLOCK_MONOTONIC = 1
_SIGINFO_BYTES = 128
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _word(value: int) -> ctypes.c_ulong:
    return ctypes.c_ulong(value)


def _path(path: str | bytes | None) -> bytes | None:
    return None if path is None else os.fsencode(path)


def unshare(flags: int) -> None:
    """unshare(2). CLONE_NEWUSER needs a process with a single thread (EINVAL else)."""
    _checked(_libc.unshare(ctypes.c_int(flags)), f"unshare({flags:#x})")


def setns(fd: int, kind: int = 0) -> None:
    """setns(2). `kind` is a CLONE_NEW* flag that the namespace must be, or 0 for any.

    A user namespace needs a process with a single thread. A pid namespace takes effect for children made
    afterwards. A mount namespace sets root and working directory to the namespace's root.
    """
    _checked(_libc.setns(ctypes.c_int(fd), ctypes.c_int(kind)), f"setns({fd}, {kind:#x})")


def mount(
    source: str | None, target: str, filesystem: str | None = None, flags: int = 0, options: str | None = None
) -> None:
    """mount(2); `flags` are MS_*."""
    result = _libc.mount(_path(source), _path(target), _path(filesystem), _word(flags), _path(options))
    _checked(result, f"mount {filesystem or source or ''} on {target}")


def unmount(target: str, flags: int = MNT_DETACH) -> None:
    """umount2(2); lazily unless told otherwise."""
    _checked(_libc.umount2(_path(target), ctypes.c_int(flags)), f"umount {target}")


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2). musl has no wrapper of it, so it is called by number."""
    number = _PIVOT_ROOT_NUMBERS.get(os.uname().machine)
    if number is None:
        result = _libc.pivot_root(_path(new_root), _path(put_old))
    else:
        result = _libc.syscall(ctypes.c_long(number), _path(new_root), _path(put_old))
    _checked(result, f"pivot_root({new_root}, {put_old})")


def clone_sibling() -> int:
    """clone(2) with CLONE_PARENT: a fork whose result is the child of our parent. Returns as fork does.

    Called with the interpreter's lock held (PyDLL), so that the copy owns it too; there are no other threads.
    """
    machine = os.uname().machine
    number = _CLONE_NUMBERS.get(machine)
    if number is None:
        raise OSError(errno.ENOSYS, f"clone is not known for the architecture {machine}")
    libc = ctypes.PyDLL(None, use_errno=True)
    flags = _word(_CLONE_PARENT | signal.SIGCHLD)
    nothing = _word(0)
    made = libc.syscall(ctypes.c_long(number), flags, nothing, nothing, nothing, nothing)
    return _checked(int(made), "clone")


def prctl(option: int, argument: int = 0) -> int:
    """prctl(2) with one argument, the others zero."""
    result = _libc.prctl(ctypes.c_int(option), _word(argument), _word(0), _word(0), _word(0))
    return _checked(result, f"prctl({option})")


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Have the kernel send the signal when the *thread* that forked us ends (PR_SET_PDEATHSIG).

    To be called after every change of credentials (setuid, unshare or setns of a user namespace): they clear
    it. Not inherited by fork. A parent that died before the call is not noticed: check for that afterwards.
    """
    prctl(PR_SET_PDEATHSIG, number)


def settle_heap() -> None:
    """Have glibc's malloc serve all threads from one heap, and keep some of what is freed at its end, for the
    rest of this process (mallopt(3)).

    Else each thread that was ever busy keeps a heap of its own, though Python lets one compute at a time; and
    a transfer gives its buffers back to the kernel and takes them anew, page by page, with every packet.
    """
    mallopt = getattr(_libc, "mallopt", None)  # other C libraries have no such thing
    if mallopt is not None:
        for option, value in ((_M_ARENA_MAX, 1), (_M_TRIM_THRESHOLD, 8 << 20), (_M_MMAP_THRESHOLD, 4 << 20)):
            mallopt(ctypes.c_int(option), ctypes.c_int(value))


def write_setting(path: str, value: str) -> None:
    """Write to a file of /proc in one piece, as the kernel wants it."""
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)


class SignalReceived(NamedTuple):
    """One signalfd_siginfo. `code` is si_code: 0 (SI_USER) when a process sent it by kill, positive when the
    kernel did (a terminal's ^C for instance); `sender_pid` is then 0. `status` is for SIGCHLD."""

    number: int
    code: int
    sender_pid: int
    sender_uid: int
    status: int


def signalfd(signals: Iterable[int]) -> int:
    """Block the signals in this thread and return a descriptor that is readable when one is pending.

    Non-blocking and close-on-exec; the caller closes it. Blocked signals stay blocked across exec: a child
    must be given its mask back.
    """
    chosen = set(signals)
    signal.pthread_sigmask(signal.SIG_BLOCK, chosen)
    bits = sum(1 << (number - 1) for number in chosen)
    sigset = struct.pack("=Q", bits) + bytes(120)
    return _checked(_libc.signalfd(ctypes.c_int(-1), sigset, ctypes.c_int(_SFD_NONBLOCK_CLOEXEC)), "signalfd")


def read_signals(fd: int) -> list[SignalReceived]:
    """All signals that a `signalfd` holds now; empty when none is pending."""
    received: list[SignalReceived] = []
    while True:
        try:
            data = os.read(fd, 16 * _SIGINFO_BYTES)
        except BlockingIOError:
            return received
        for offset in range(0, len(data), _SIGINFO_BYTES):
            # ssi_signo, ssi_errno, ssi_code, ssi_pid, ssi_uid, ssi_fd, ssi_tid, ssi_band, ssi_overrun,
            # ssi_trapno, ssi_status
            number, _, code, pid, uid, *_, status = struct.unpack_from("=IiiIIiIIIIi", data, offset)
            received.append(SignalReceived(number, code, pid, uid, status))


class SignalSource:
    """A `signalfd` of the signals, which are blocked by it, until `close`."""

    def __init__(self, signals: Iterable[int]) -> None:
        self._fd = signalfd(signals)

    def fileno(self) -> int:
        return self._fd

    def read(self) -> list[SignalReceived]:
        return read_signals(self._fd)

    def close(self) -> None:
        os.close(self._fd)


def timerfd() -> int:
    """A timer of CLOCK_MONOTONIC as a descriptor that is readable once it is due (timerfd_create(2)).

    Non-blocking and close-on-exec; the caller closes it. Finer than what poll and epoll_wait round up to.
    """
    made = _libc.timerfd_create(ctypes.c_int(_CLOCK_MONOTONIC), ctypes.c_int(_TFD_NONBLOCK_CLOEXEC))
    return _checked(made, "timerfd_create")


def set_timer(fd: int, seconds: float) -> None:
    """Make a `timerfd` due in so many seconds from now, once; what was set before is forgotten."""
    whole, rest = divmod(max(1, round(seconds * 1e9)), 1_000_000_000)
    wanted = struct.pack("@llll", 0, 0, whole, rest)
    _checked(_libc.timerfd_settime(ctypes.c_int(fd), ctypes.c_int(0), wanted, None), "timerfd_settime")
