"""Who got a signal: the whole group, or one process of it. In a group of its own, as it signals it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from telepresence_py.model.errors import PreconditionFailed
from telepresence_py.process.witness import Witness

ROOT = Path(__file__).parents[3]
QUESTIONS = """
import os, signal
from telepresence_py.process import witness as module
from telepresence_py.process.job import SignalInbox
from telepresence_py.process.witness import Witness

module._SHELL = {shell!r}
with SignalInbox() as inbox, Witness() as witness:
    def asked(send, number):
        send(number)
        (received,) = [one for one in inbox.read() if one.number != signal.SIGCHLD]
        return witness.also_got(received.number)

    alone = lambda number: os.kill(os.getpid(), number)
    group = lambda number: os.killpg(0, number)
    {question}
"""


SHELLS = [shell for shell in ("/bin/sh", "/bin/bash", "/bin/busybox") if os.path.exists(shell)]


def answer(question: str, shell: str = "/bin/sh") -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "sidecar")))}
    done = subprocess.run(
        [sys.executable, "-c", QUESTIONS.format(question=question, shell=shell)],
        env=environment, capture_output=True, text=True, process_group=0, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("name", ["SIGHUP", "SIGINT", "SIGUSR1", "SIGTERM", "SIGTSTP", "SIGWINCH"])
def test_a_signal_to_the_group_is_told_from_one_to_us_alone(name, shell):
    question = f"print(*(asked(to, signal.{name}) for to in (alone, group, alone, group, group, alone)))"
    assert answer(question, shell) == "False True False True True False"


def test_kinds_of_signals_are_kept_apart():
    questions = "asked(alone, signal.SIGTERM), witness.also_got(signal.SIGHUP)"
    assert answer(f"group(signal.SIGHUP); inbox.read(); print({questions})") == "False True"


def test_a_witness_that_was_stopped_with_the_group_is_replaced():
    questions = "asked(alone, signal.SIGTERM), asked(group, signal.SIGTERM)"
    assert answer(f"os.kill(witness._pid, signal.SIGSTOP); print({questions})") == "False True"


def test_a_witness_that_was_killed_is_replaced():
    questions = "asked(alone, signal.SIGTERM), asked(group, signal.SIGTERM)"
    killed = (
        "os.kill(witness._pid, signal.SIGKILL); os.waitid(os.P_PID, witness._pid, os.WEXITED | os.WNOWAIT)"
    )
    assert answer(f"{killed}; print({questions})") == "False True"


def test_the_witness_cannot_be_taken_for_the_cli():
    files = "*(open(f'/proc/{witness._pid}/{name}').read() for name in ('cmdline', 'environ', 'comm'))"
    # a question that it answered tells that it is on its way
    said = answer(f"asked(group, signal.SIGTERM); print({files})")
    assert said.endswith("tp-witness")
    assert "python" not in said
    assert "telepresence" not in said


def test_the_witness_holds_nothing_of_ours_open():
    listing = "files = [os.readlink(one) for one in os.scandir(f'/proc/{witness._pid}/fd')]"
    ours = "os.set_inheritable(os.open('/', os.O_RDONLY), True); witness._end(); witness._start()"
    said = answer(f"{ours}; asked(group, signal.SIGTERM); {listing}; print(len(set(files)), files[0][:7])")
    assert said == "1 socket:"


def test_the_witness_is_a_tenth_of_a_python():
    question = (
        "asked(group, signal.SIGTERM); print(os.path.basename(os.readlink(f'/proc/{witness._pid}/exe')))"
    )
    assert answer(question) == os.path.basename(os.path.realpath("/bin/sh"))


def test_the_witness_ends_with_us():
    assert answer("print(witness._pid)") not in os.listdir("/proc")


def test_without_a_shell_there_is_a_sentence(monkeypatch):
    monkeypatch.setattr("telepresence_py.process.witness._SHELL", "/missing/sh")
    with pytest.raises(PreconditionFailed, match="/missing/sh cannot be executed: No such file"):
        Witness().__enter__()
