"""Ends what a child left behind in its pid namespace, so that the next one finds its ports free.

In a pod the end of a container's first process ends them all; here the namespace outlives the child. kill(2)
of "every process" reaches, from inside a pid namespace, every process of it but the first: so a process of
ours is put there, which makes sure twice that it really is.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import NoReturn

from telepresence_py import system
from telepresence_py.process import kernel
from telepresence_py.process.child import NAMESPACES

GRACE_SECONDS = 3.0
"""Between SIGTERM and SIGKILL."""

_LAST_SECONDS = 2.0
_LOOK_AGAIN_SECONDS = 0.02
_PID_NAMESPACE = "/proc/self/ns/pid"


class Sweep:
    """A sweep that goes on. `poll` after each SIGCHLD until it is done, or `close`."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def poll(self) -> bool:
        """Whether it is done."""
        if self._pid and os.waitpid(self._pid, os.WNOHANG)[0]:
            self._pid = 0
        return self._pid == 0

    def close(self) -> None:
        """Leave the rest as it is."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0


def start_sweep(namespaces: Mapping[str, int], grace_seconds: float = GRACE_SECONDS) -> Sweep:
    """SIGTERM to whatever lives in the pid namespace, later SIGKILL; done once nobody is left there.

    `namespaces` as in ChildSpec; without a pid namespace there is nothing to do. Call it when the child was
    waited for.
    """
    if not system.LINUX or "pid" not in namespaces:
        return Sweep(0)
    reading, writing = os.pipe2(os.O_CLOEXEC)
    outside = os.stat(_PID_NAMESPACE).st_ino
    joiner = os.fork()
    if joiner == 0:
        _join_and_sweep(namespaces, grace_seconds, outside, writing)
    os.close(writing)
    os.waitpid(joiner, 0)
    with os.fdopen(reading, "rb") as pipe:
        # the sweeper's copy of the other end closes when it has begun or failed
        said = pipe.read()
    return Sweep(int(said or b"0"))


def _join_and_sweep(namespaces: Mapping[str, int], grace_seconds: float, outside: int, pipe: int) -> NoReturn:
    """Nothing may escape from here: it would unwind a copy of the CLI."""
    try:
        for kind in ("user", "pid"):
            if kind in namespaces:
                kernel.setns(namespaces[kind], NAMESPACES[kind])
        inside = os.fstat(namespaces["pid"]).st_ino
        sweeper = kernel.clone_sibling()
        if sweeper == 0:
            os.close(pipe)
            kernel.die_with_parent()
            # "every process" would be every process of the user's, were this wrong
            if os.stat(_PID_NAMESPACE).st_ino == inside != outside:
                _sweep(grace_seconds)
            os._exit(0)
        os.write(pipe, b"%d" % sweeper)
    finally:
        os._exit(0)


def _sweep(grace_seconds: float) -> None:
    with suppress(ProcessLookupError):
        os.kill(-1, signal.SIGTERM)
        os.kill(-1, signal.SIGCONT)
        _wait_alone(grace_seconds)
        os.kill(-1, signal.SIGKILL)
        _wait_alone(_LAST_SECONDS)


def _wait_alone(seconds: float) -> None:
    """ProcessLookupError once nobody is left but the first process and us."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        os.kill(-1, 0)
        time.sleep(_LOOK_AGAIN_SECONDS)
