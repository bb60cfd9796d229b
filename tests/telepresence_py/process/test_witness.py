"""Who got a signal: the whole group, or one process of it. In a group of its own, as it signals it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
QUESTIONS = """
import os, signal
from telepresence_py.process.job import SignalInbox
from telepresence_py.process.witness import Witness

with SignalInbox() as inbox, Witness() as witness:
    def asked(send, number):
        send(number)
        (received,) = [one for one in inbox.read() if one.number != signal.SIGCHLD]
        return witness.also_got(received.number)

    alone = lambda number: os.kill(os.getpid(), number)
    group = lambda number: os.killpg(0, number)
    {question}
"""


def answer(question: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "sidecar")))}
    done = subprocess.run(
        [sys.executable, "-c", QUESTIONS.format(question=question)],
        env=environment, capture_output=True, text=True, process_group=0, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_signal_to_the_group_is_told_from_one_to_us_alone():
    question = "print(*(asked(to, signal.SIGTERM) for to in (alone, group, alone, group, group, alone)))"
    assert answer(question) == "False True False True True False"


def test_kinds_of_signals_are_kept_apart():
    questions = "asked(alone, signal.SIGTERM), witness.also_got(signal.SIGHUP)"
    assert answer(f"group(signal.SIGHUP); inbox.read(); print({questions})") == "False True"


def test_a_witness_that_was_stopped_with_the_group_is_replaced():
    questions = "asked(alone, signal.SIGTERM), asked(group, signal.SIGTERM)"
    assert answer(f"os.kill(witness._pid, signal.SIGSTOP); print({questions})") == "False True"


def test_the_witness_cannot_be_taken_for_the_cli():
    files = "*(open(f'/proc/{witness._pid}/{name}').read().strip(chr(0)) for name in ('cmdline', 'comm'))"
    # an answered question tells that it is on its way
    assert answer(f"asked(alone, signal.SIGTERM); print({files})") == "tp-witness tp-witness"


def test_the_witness_holds_nothing_of_ours_open():
    question = "asked(alone, signal.SIGTERM); print(len(os.listdir(f'/proc/{witness._pid}/fd')))"
    assert answer(question) == "1"


def test_the_witness_ends_with_us():
    assert answer("print(witness._pid)") not in os.listdir("/proc")
