"""The product as on a system that is not Linux: its programs run without what macOS's Python lacks.

`python elsewhere.py LAUNCHER WORDS...` is `python WORDS...` in such a process; LAUNCHER is what the product
shall take for its interpreter, so that the programs that it starts are such ones as well. What a library
asks the kernel, as psutil does, it still asks Linux's.
"""

from __future__ import annotations

import os
import runpy
import shlex
import signal
import socket
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

PRODUCT = "telepresence_py"
LACKING: dict[ModuleType, tuple[str, ...]] = {
    os: (
        "memfd_create", "pidfd_open", "pipe2", "sched_getaffinity", "sched_setaffinity", "waitid", "eventfd",
        "splice", "copy_file_range", "setns", "unshare", "posix_fadvise", "fdatasync", "O_PATH", "P_PIDFD",
    ),
    signal: ("pidfd_send_signal", "sigwaitinfo", "sigtimedwait"),
    socket: (
        "AF_NETLINK", "SOCK_NONBLOCK", "SOCK_CLOEXEC", "SO_MARK", "SO_PEERCRED", "MSG_CMSG_CLOEXEC",
        "TCP_KEEPIDLE", "TCP_USER_TIMEOUT", "TCP_QUICKACK",
    ),
    time: ("CLOCK_BOOTTIME",),
}  # fmt: skip
"""What the modules of macOS's Python 3.11 have not got. epoll stays: it stands for kqueue."""


def write_launcher(directory: Path, python: str) -> str:
    """An interpreter that lacks it all, in `directory` with a copy of this file; its path."""
    path, program = directory / "python-elsewhere", directory / "elsewhere.py"
    program.write_bytes(Path(__file__).read_bytes())
    path.write_text(f'#!/bin/sh\nexec {shlex.quote(python)} {shlex.quote(str(program))} "$0" "$@"\n')
    path.chmod(0o755)
    return str(path)


class _NoLibrary:
    """In the place of the C library that the product calls by ctypes."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


def _refuse_proc(event: str, arguments: tuple[Any, ...]) -> None:
    """There is no /proc; psutil, which has another way elsewhere, may read it."""
    if event in ("open", "os.listdir", "os.scandir") and str(arguments[0]).startswith("/proc"):
        frame = sys._getframe(1)
        while frame is not None:
            room = str(frame.f_globals.get("__name__", "")).partition(".")[0]
            if room == "psutil":
                return
            if room == PRODUCT:
                raise FileNotFoundError(2, "there is no /proc elsewhere", arguments[0])
            frame = frame.f_back  # type: ignore[assignment]


def take_away() -> None:
    """From this process, before it imports anything of the product's."""
    for module, names in LACKING.items():
        for name in names:
            vars(module).pop(name, None)
        public = getattr(module, "__all__", None)  # trio goes by it
        if public is not None:
            public[:] = [name for name in public if name not in names]
    from telepresence_py import system

    system.LINUX = False
    system.PLATFORM = "darwin"
    from telepresence_py.process import kernel

    kernel._libc = _NoLibrary()  # type: ignore[assignment]
    sys.addaudithook(_refuse_proc)


def main() -> None:
    launcher, *words = sys.argv[1:]
    while words and words[0] in ("-I", "-S"):
        words = words[1:]
    if words[0] == "-c":
        os.execv(sys.executable, [sys.executable, "-I", "-S", *words])  # needs nothing of the product
    sys.path.pop(0)  # this directory
    take_away()
    sys.executable = launcher
    if words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    main()
