"""Real processes that end as another did."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from telepresence_py.process import ending


def end_by(number: int, before: str = "") -> int:
    """What the parent of a process sees that ends so."""
    lines = ("import signal", "from telepresence_py.process import ending", before)
    program = "\n".join((*lines, f"ending.end_by_signal({number})"))
    return subprocess.run([sys.executable, "-c", program], check=False, timeout=30).returncode


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL, signal.SIGSEGV, signal.SIGPIPE])
def test_a_process_ends_by_the_signal(number):
    assert end_by(number) == -number


def test_a_signal_that_was_ignored_and_blocked_ends_it_all_the_same():
    before = "signal.signal(15, signal.SIG_IGN); signal.pthread_sigmask(signal.SIG_BLOCK, {15})"
    assert end_by(15, before) == -15


def test_one_whom_the_signal_spares_gives_128_and_its_number(monkeypatch):
    """As the kernel spares the first process of a pid namespace."""
    monkeypatch.setattr(os, "kill", lambda pid, number: None)
    monkeypatch.setattr(signal, "signal", lambda number, action: None)
    monkeypatch.setattr(ending.kernel, "prctl", lambda option, argument: 0)
    with pytest.raises(SystemExit) as ended:
        ending.end_by_signal(signal.SIGTERM)
    assert ended.value.code == 143
