"""The wrappers that need no privilege; unshare, setns and mounts are exercised by the isolation tests."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from telepresence_py.process import kernel


def test_an_error_names_the_call_and_carries_the_errno() -> None:
    with pytest.raises(OSError, match=r"umount /nowhere-at-all") as caught:
        kernel.unmount("/nowhere-at-all")
    assert caught.value.errno in {errno.ENOENT, errno.EPERM}


def test_setns_refuses_a_descriptor_that_is_no_namespace() -> None:
    with open(os.devnull) as nothing, pytest.raises(OSError, match="setns") as caught:
        kernel.setns(nothing.fileno())
    assert caught.value.errno == errno.EINVAL


def alone(*lines: str) -> None:
    """Run the lines in a process of their own: here other threads, which block no signal, could take it."""
    header = ("import os, select, signal", "from telepresence_py.process import kernel")
    subprocess.run([sys.executable, "-c", "\n".join((*header, *lines))], check=True, timeout=30)


def test_signalfd_tells_who_sent_a_signal() -> None:
    alone(
        "fd = kernel.signalfd([signal.SIGUSR1, signal.SIGUSR2])",
        "assert kernel.read_signals(fd) == []",
        "os.kill(os.getpid(), signal.SIGUSR2)",
        "(received,) = kernel.read_signals(fd)",
        "assert received.number == signal.SIGUSR2",
        "assert received.sender_pid == os.getpid()",
        "assert received.sender_uid == os.getuid()",
        "assert received.code == 0",
    )


def test_signalfd_tells_a_childs_status() -> None:
    alone(
        "fd = kernel.signalfd([signal.SIGCHLD])",
        "pid = os.fork() or os._exit(7)",
        "assert select.select([fd], [], [], 10)[0]",
        "(received,) = kernel.read_signals(fd)",
        "os.waitpid(pid, 0)",
        "assert (received.number, received.sender_pid, received.status) == (signal.SIGCHLD, pid, 7)",
    )
