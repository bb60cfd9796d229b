"""The first process (pid 1) of the child's process namespace: it is the namespace's life, and reaps orphans.

The command itself cannot be pid 1: signals without a handler, such as ^C, never reach it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from telepresence_py.process.kernel import (
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    clone_sibling,
    die_with_parent,
    mount,
    write_setting,
)

_NO_PROC = "the command sees the laptop's /proc, with other process ids than its own: {reason}"
_LOOK_AGAIN_SECONDS = 0.005


def become_first(announce: Callable[[int], None], beside_us: bool = True) -> int:
    """Clone the first process; to be called after unshare(CLONE_NEWPID), by a single thread.

    Returns as fork does: in the first process, a child of our parent's if it is `beside_us`, else ours, 0;
    not before the other one has announced its pid. It is told of the parent's end by SIGTERM, has no
    children to wait for, and from inside no signal can harm it.
    """
    announced, told = os.pipe()
    outside_pid = os.getpid()
    pid = clone_sibling() if beside_us else os.fork()
    os.close(announced if pid else told)
    if pid:
        announce(pid)
        os.close(told)
    else:
        be_first()
        die_with_parent(signal.SIGTERM)
        _count_on_from(outside_pid)
        os.read(announced, 1)
        os.close(announced)
    return pid


def be_first() -> None:
    """For who was started as the first process of a namespace: from now on orphans are reaped."""
    if os.getpid() != 1:
        raise OSError(0, "it is not the first one")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # then the kernel reaps: wait(2)


def _count_on_from(pid: int) -> None:
    """Let the pids inside go on after `pid`, an own one of every session.

    Sessions share /tmp, and programs name files of theirs there by their pid: two JVMs that are both number 2
    would contend for /tmp/hsperfdata_USER/2. Of the namespace of who writes: Documentation/admin-guide/sysctl
    /kernel.rst, ns_last_pid. Where /proc/sys may not be written, as in containers, they begin with 2.
    """
    with suppress(OSError):
        write_setting("/proc/sys/kernel/ns_last_pid", str(pid))


def wait_for(first: int) -> int:
    """For who forked the first process: its exit code, once it has ended. When our own parent ends, or
    SIGTERM asks us to, we do at once, of which the first process hears."""
    die_with_parent()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    _pid, status = os.waitpid(first, 0)
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1


def mount_proc() -> str:
    """A /proc that shows the new namespace; a notice when it is refused, as where the laptop's own is masked
    (in containers)."""
    try:
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except OSError as error:
        return _NO_PROC.format(reason=error.strerror)
    return ""


def end_others(seconds: float) -> None:
    """Kill whatever else is in the process namespace, and wait for its end.

    Not for ever: those whose parents are outside are there until these wait for them.
    """
    assert os.getpid() == 1, "every process would be every process of the user's"
    deadline = time.monotonic() + seconds
    with suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
        while time.monotonic() < deadline:
            os.kill(-1, 0)
            time.sleep(_LOOK_AGAIN_SECONDS)
