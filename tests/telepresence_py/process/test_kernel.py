"""The wrappers that need no privilege; unshare, setns and mounts are exercised by the isolation tests."""

from __future__ import annotations

import errno
import os
import select
import signal
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


def test_signalfd_tells_who_sent_a_signal() -> None:
    # in a process of its own: here another thread, which does not block the signal, could get it
    code = (
        "import os, signal\n"
        "from telepresence_py.process import kernel\n"
        "fd = kernel.signalfd([signal.SIGUSR1, signal.SIGUSR2])\n"
        "assert kernel.read_signals(fd) == []\n"
        "os.kill(os.getpid(), signal.SIGUSR2)\n"
        "(received,) = kernel.read_signals(fd)\n"
        "assert received.number == signal.SIGUSR2\n"
        "assert received.sender_pid == os.getpid()\n"
        "assert received.sender_uid == os.getuid()\n"
        "assert received.code == 0\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_signalfd_tells_a_childs_status() -> None:
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    fd = kernel.signalfd([signal.SIGCHLD])
    try:
        pid = os.fork()
        if pid == 0:
            os._exit(7)
        assert select.select([fd], [], [], 5)[0]
        (received,) = kernel.read_signals(fd)
        os.waitpid(pid, 0)
    finally:
        os.close(fd)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    assert (received.number, received.sender_pid, received.status) == (signal.SIGCHLD, pid, 7)


def test_a_process_dies_with_its_parent_once_it_asked_for_it() -> None:
    read_end, write_end = os.pipe()
    parent = os.fork()
    if parent == 0:
        grandchild = os.fork()
        if grandchild == 0:
            kernel.die_with_parent()
            os.write(write_end, b"%d\n" % os.getpid())
            os.close(read_end)
            while True:
                signal.pause()
        signal.pause()
    os.close(write_end)
    assert os.read(read_end, 100)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    # end of file: the last holder of the write end, the grandchild, is gone
    assert select.select([read_end], [], [], 5)[0]
    assert os.read(read_end, 100) == b""
    os.close(read_end)
