"""What stands in for Linux's own ways on other systems, run here as it would be run there."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from integration.support.elsewhere import write_launcher
from telepresence_py import system
from telepresence_py.model.errors import CommandNotExecutable, CommandNotFound, PreconditionFailed
from telepresence_py.process import neutral, neutral_signals
from telepresence_py.process.child import ChildSpec, Exited, Stopped
from telepresence_py.process.ends import end_of
from telepresence_py.process.records import process_start
from tests.fakes.waiting import wait_until

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch):
    monkeypatch.setattr(system, "LINUX", False)


def spec(*command: str, **environment: str) -> ChildSpec:
    return ChildSpec(command, {"PATH": os.environ["PATH"], **environment}, os.getcwd(), {})


@pytest.fixture
def start():
    """`start(words...)`: a child, whose keeper is closed at the end."""
    keepers = []

    def begin(*command: str, **environment: str) -> neutral.SpawnedChild:
        child, keeper = neutral.start_child(spec(*command, **environment))
        keepers.append(keeper)
        return child

    yield begin
    for keeper in keepers:
        keeper.close()


def ended(child: neutral.SpawnedChild) -> Exited | Stopped | None:
    wait_until(child.has_news, "the child has news")
    return child.poll()


def test_a_child_is_the_command_with_the_environment_that_it_is_given(start):
    assert ended(start("sh", "-c", "exit $CODE", CODE="7")) == Exited(7)


def test_news_are_told_once_however_often_one_asks_for_them(start):
    child = start("sh", "-c", "kill -STOP $$; exit 3")
    wait_until(child.has_news, "it stopped")
    assert child.has_news()
    assert child.is_stopped()
    assert child.poll() == Stopped(signal.SIGSTOP)
    assert not child.has_news()
    child.send(signal.SIGCONT)
    assert ended(child) == Exited(3)


def test_a_child_dies_of_the_signals_that_python_ignores(start):
    child = start("sh", "-c", "kill -PIPE $$; exit 3")
    assert ended(child) == Exited(-signal.SIGPIPE)


def test_a_file_without_a_header_is_given_to_the_shell(start, tmp_path):
    script = tmp_path / "script"
    script.write_text("exit 4\n")
    script.chmod(0o755)
    assert ended(start(str(script))) == Exited(4)


@pytest.mark.parametrize(
    ("word", "error"), [("no-such-command", CommandNotFound), ("/etc/passwd", CommandNotExecutable)]
)
def test_what_cannot_be_executed_is_told_apart(word, error):
    with pytest.raises(error):
        neutral.start_child(spec(word))


def test_a_name_that_no_environment_can_hold_is_refused():
    with pytest.raises(CommandNotExecutable):
        neutral.start_child(spec("true", **{"A\0B": "1"}))


def test_namespaces_are_refused():
    with pytest.raises(PreconditionFailed, match="--method proxy"):
        neutral.start_child(ChildSpec(("true",), {}, "/", {"net": 0}))


@pytest.mark.parametrize("whom", ["alone", "group"])
def test_a_child_is_killed_with_who_started_it_from_its_first_moment_on(tmp_path, whom):
    """It writes its number by itself: it may be killed before it does, but not live on after it did."""
    whose = {"alone": "$PPID", "group": "-$PPID"}[whom]
    code = f"""
import os, signal
from telepresence_py import system
from telepresence_py.process import neutral
from telepresence_py.process.child import ChildSpec

system.LINUX = False
command = ("sh", "-c", "echo $$ >{tmp_path}/pid; kill -KILL {whose}; sleep 600")
child, keeper = neutral.start_child(ChildSpec(command, dict(os.environ), "/", {{}}))
signal.pause()
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment(), process_group=0, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: neutral.process_start(pid) is None, "the child is gone")


def test_a_keeper_that_is_closed_kills_nobody():
    child, keeper = neutral.start_child(spec("sleep", "600"))
    try:
        keeper.close()
        assert child.poll() is None
    finally:
        child.send(signal.SIGKILL)
        assert ended(child) == Exited(-signal.SIGKILL)


def test_the_start_of_a_process_is_the_same_each_time_and_none_once_it_ended(start):
    child = start("cat", "/dev/null")
    wait_until(child.has_news, "it ended")
    assert process_start(child.pid) is None
    assert process_start(os.getpid()) == process_start(os.getpid()) is not None


def test_listeners_of_this_user_are_found_in_both_families():
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("::1", 0), family=10) as other:
        found = neutral.listening_ports()
        assert found[one.getsockname()[1]] == {"127.0.0.1"}
        assert found[other.getsockname()[1]] == {"::1"}


def test_what_is_seen_is_renewed_until_it_is_closed():
    looks = []
    seen = neutral.Seen(lambda: looks.append(None) or len(looks))
    assert seen() >= 1
    wait_until(lambda: seen() >= 3, "it looked again")
    seen.close()
    wait_until(lambda: not [one for one in threading.enumerate() if "_go_on" in one.name], "its thread ended")


@pytest.mark.parametrize("linux", [True, False])
def test_the_end_of_a_process_can_be_waited_for(monkeypatch, linux):
    monkeypatch.setattr(system, "LINUX", linux)
    process = subprocess.Popen(["sleep", "600"])
    end = end_of(process.pid)
    end.send(signal.SIGTERM)
    wait_until(lambda: readable(end.fileno()), "its end is told")
    end.send(signal.SIGTERM)
    process.returncode = end.reap()
    assert process.returncode == -signal.SIGTERM


def readable(descriptor: int) -> bool:
    import select

    return bool(select.select([descriptor], [], [], 0)[0])


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "sidecar")))}


QUESTIONS = """
import os, select, signal
from telepresence_py.process.job import SignalInbox
from telepresence_py.process.neutral_signals import AskedWitness

with SignalInbox() as inbox, AskedWitness() as witness:
    def asked(send, number):
        send(number)
        select.select([inbox], [], [])
        (received,) = [one for one in inbox.read() if one.number != signal.SIGCHLD]
        assert received.number == number
        return witness.also_got(number)

    alone = lambda number: os.kill(os.getpid(), number)
    group = lambda number: os.killpg(0, number)
    QUESTION
"""


@pytest.fixture
def answer(tmp_path):
    launcher = write_launcher(tmp_path, sys.executable)
    program = tmp_path / "program.py"

    def ask(question: str) -> str:
        program.write_text(QUESTIONS.replace("QUESTION", question))
        done = subprocess.run(
            [launcher, str(program)],
            env=environment(), capture_output=True, text=True, process_group=0, timeout=30, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return ask


@pytest.mark.parametrize("name", ["SIGHUP", "SIGINT", "SIGUSR1", "SIGTERM", "SIGTSTP", "SIGCONT", "SIGWINCH"])
def test_a_signal_to_the_group_is_told_from_one_to_us_alone(answer, name):
    question = f"print(*(asked(to, signal.{name}) for to in (alone, group, alone, group, group, alone)))"
    assert answer(question) == "False True False True True False"


def test_a_witness_that_was_killed_is_replaced(answer):
    killed = "os.kill(witness._pid, signal.SIGKILL)"
    questions = "asked(alone, signal.SIGTERM), asked(group, signal.SIGTERM)"
    assert answer(f"{killed}; print({questions})") == "False True"


def test_the_witness_ends_with_us(answer):
    pid = int(answer("print(witness._pid)"))
    wait_until(lambda: neutral.process_start(pid) is None, "the witness is gone")


def test_who_ends_by_a_signal_ends_by_it_without_a_core(tmp_path):
    program = tmp_path / "program.py"
    program.write_text("from telepresence_py.process.ending import end_by_signal; end_by_signal(3)")
    launcher = write_launcher(tmp_path, sys.executable)
    done = subprocess.run([launcher, str(program)], env=environment(), cwd=tmp_path, check=False)
    assert done.returncode == -signal.SIGQUIT
    assert {path.name for path in tmp_path.iterdir()} == {"program.py", "python-elsewhere", "elsewhere.py"}


def test_without_an_interpreter_there_is_a_sentence(monkeypatch):
    monkeypatch.setattr("telepresence_py.process.neutral_signals.sys.executable", "/missing/python")
    with pytest.raises(PreconditionFailed, match="/missing/python cannot be executed: No such file"):
        neutral_signals.AskedWitness().__enter__()
