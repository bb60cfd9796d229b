"""The pod's log: one line per thing that happened, in whose name."""

from __future__ import annotations

import os
import sys
import time


class Log:
    """Writes to stdout, which is the pod's log. No secret ever passes here."""

    def __init__(self, session: str, holder: str) -> None:
        self._name = f"session {session} of {holder}"

    def line(self, text: str) -> None:
        """`text` as it is."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def of_session(self, text: str) -> None:
        """`text`, and whose session it concerns."""
        self.line(f"{text}: {self._name}")


def process_age() -> float:
    """Seconds since this process began, from proc_pid_stat(5) field 22; 0.0 where /proc does not tell."""
    try:
        with open("/proc/self/stat", encoding="ascii", errors="replace") as stat:
            started = int(stat.read().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK")
