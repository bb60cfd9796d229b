"""How the CLI ends when a signal ended its child: by the same one, as whoever waits for it would see it."""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

from telepresence_py import system
from telepresence_py.process import kernel

_PR_SET_DUMPABLE = 4


def end_by_signal(number: int) -> NoReturn:
    """End this process by a signal whose default action is to end one.

    A shell tells 128 + n of this and of such an exit code alike, but only an end by signal makes it repair
    the terminal's modes, and a script or a `make` end with the step that ^C ended. sudo ends so too.
    """
    # if anybody has dumped core, the child has
    if system.LINUX:
        kernel.prctl(_PR_SET_DUMPABLE, 0)
    else:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
    # the first process of a pid namespace is spared, see pid_namespaces(7)
    sys.exit(128 + number)
