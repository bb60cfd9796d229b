"""Several children of one session, without a terminal, against the fake session process."""

from __future__ import annotations

import os
import re
import selectors
import signal
import sys
import threading

import pytest

from telepresence_py.cli.again import ONCE
from telepresence_py.cli.children import Children
from telepresence_py.cli.render import Screen, Wanted
from telepresence_py.process.kernel import SignalReceived
from tests.fakes.swapping import Swapping
from tests.fakes.terminal import DEADLINE_SECONDS
from tests.fakes.waiting import wait_until

COUNTED = 'n=$(($(cat runs 2>/dev/null || echo 0) + 1)); echo $n >runs; echo "run $n of $$"; '
"""A shell's line that says which run this is; its directory is the test's own."""


@pytest.fixture
def swapping(tmp_path):
    one = Swapping(tmp_path)
    yield one
    one.close()


class Run:
    """A run without a terminal whose stderr is read as it comes."""

    def __init__(self, swapping: Swapping, program: str, *options: str, **script) -> None:
        work = swapping.directory / "work"
        work.mkdir(exist_ok=True)
        self.directory = work
        self.process = swapping.begin(
            "sh", "-c", program, options=[*options], cwd=str(work), **{"namespaces": True, **script}
        )
        self.out, self.err = "", ""
        self.readers = [
            threading.Thread(target=self._read, args=(name,), daemon=True) for name in ("out", "err")
        ]
        for reader in self.readers:
            reader.start()

    def _read(self, name: str) -> None:
        for line in getattr(self.process, f"std{name}"):
            setattr(self, name, getattr(self, name) + line)

    def says(self, pattern: str, times: int = 1) -> None:
        def said() -> bool:
            return len(re.findall(pattern, self.out + self.err)) >= times

        try:
            wait_until(said, f"{pattern!r} {times} times")
        except AssertionError:
            raise AssertionError(f"{pattern!r} not said in\n{self.out}\n{self.err}") from None

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ends(self) -> int:
        code = self.process.wait(DEADLINE_SECONDS)
        for reader in self.readers:
            reader.join(DEADLINE_SECONDS)
        return code


# --keep without a terminal


def test_a_kept_child_is_started_again_by_a_signal_and_ended_by_another(swapping):
    run = Run(swapping, COUNTED + "exit $n", "--keep")
    run.says("exited with 1; kill -USR1 [0-9]+ starts it again, kill [0-9]+ gives the workload back")
    assert str(run.process.pid) in run.err
    run.send(signal.SIGUSR1)
    run.says("exited with 2;")
    wait_until(lambda: swapping.heard_tags() == ["swap", "child-started"], "the session knows of one child")
    run.send(signal.SIGTERM)
    assert run.ends() == 2, "the last child's code"
    assert swapping.heard()[2] == {"do": "child-ended", "status": 2}
    assert swapping.heard_tags()[-1] == "restored"


def test_a_signal_that_was_sent_ends_a_kept_child_and_none_follows(swapping):
    run = Run(swapping, COUNTED + "exec sleep 600", "--keep")
    run.says("run 1")
    run.send(signal.SIGINT)
    assert run.ends() == -signal.SIGINT
    assert "starts it again" not in run.err


def test_the_signal_that_starts_is_the_childs_while_one_runs(swapping):
    run = Run(swapping, COUNTED + "trap 'echo caught; exit 5' USR1; while :; do sleep 0.05; done", "--keep")
    run.says("run 1")
    run.send(signal.SIGUSR1)
    run.says("caught")
    run.says("exited with 5")
    run.send(signal.SIGINT)
    assert run.ends() == 5


def test_what_a_child_leaves_behind_ends_before_the_next_one_starts(swapping):
    """In a pod the end of the container would end it; here its port would not be free."""
    program = COUNTED + "[ $n = 2 ] || setsid sleep 600 & sleep 0.1; ps -e"
    run = Run(swapping, program, "--keep")
    run.says("exited with 0;")
    assert " sleep" in run.out
    run.send(signal.SIGUSR1)
    run.says("exited with 0;", times=2)
    assert " sleep" not in run.out.partition("run 2")[2]
    run.send(signal.SIGTERM)
    assert run.ends() == 0


@pytest.mark.parametrize("how", ["fail", "die"])
def test_a_session_that_ends_ends_the_waiting(swapping, how, tmp_path):
    fifo = tmp_path / "later"
    os.mkfifo(fifo)
    run = Run(swapping, "exit 4", "--keep", while_running=how, later=str(fifo))
    run.says("exited with 4;")
    os.close(os.open(fifo, os.O_WRONLY))
    assert run.ends() == 75


def test_a_session_that_asks_for_the_end_of_a_child_that_is_over_hears_it_at_once(swapping, tmp_path):
    fifo = tmp_path / "later"
    os.mkfifo(fifo)
    run = Run(swapping, "exit 4", "--keep", while_running="stop-child", later=str(fifo))
    run.says("exited with 4;")
    os.close(os.open(fifo, os.O_WRONLY))
    assert run.ends() == 75
    assert swapping.heard()[2] == {"do": "child-ended", "status": 4}


def test_a_command_in_a_pod_of_its_own_is_kept_too(swapping):
    swapping.opening = ["run"]
    run = Run(swapping, COUNTED + "exit $n", "--keep")
    run.says("exited with 1; kill -USR1 [0-9]+ starts it again, kill [0-9]+ removes the pod")
    run.send(signal.SIGUSR1)
    run.says("exited with 2;")
    run.send(signal.SIGTERM)
    assert run.ends() == 2


def test_the_waiting_is_told_even_if_quiet(swapping):
    run = Run(swapping, "exit 0", "--keep", "--quiet")
    run.says("exited with 0;")
    run.send(signal.SIGTERM)
    assert run.ends() == 0


def test_the_session_survives_a_kill_of_a_cli_that_waits(swapping):
    run = Run(swapping, "exit 0", "--keep")
    run.says("exited with 0;")
    wait_until(lambda: "child-started" in swapping.heard_tags(), "the fake session is done with sending")
    run.send(signal.SIGKILL)
    run.ends()
    wait_until(lambda: "restored" in swapping.heard_tags(), "the session restores")


def test_what_the_caller_ignores_does_not_end_the_waiting(swapping):
    swapping.ignored = ("HUP",)
    run = Run(swapping, "exit 0", "--keep")
    run.says("exited with 0;")
    run.send(signal.SIGHUP)
    run.send(signal.SIGUSR1)
    run.says("exited with 0;", times=2)
    run.send(signal.SIGTERM)
    assert run.ends() == 0


# --restart


def test_a_crash_starts_the_child_again_and_a_clean_exit_ends_it(swapping):
    run = Run(swapping, COUNTED + "[ $n = 2 ] || kill -SEGV $$", "--restart", "--watch", "/dev/null")
    run.says("run 2")
    assert run.ends() == 0
    assert "was ended by SIGSEGV; it is started again\n" in run.err
    assert swapping.heard_tags().count("child-started") == 1


def test_the_second_crash_is_answered_more_slowly_and_the_pause_can_be_cut(swapping):
    run = Run(swapping, COUNTED + "[ $n -ge 4 ] || exit $n", "--restart", "--watch", "/dev/null")
    run.says("exited with 2; it is started again in 1 s")
    run.says("exited with 3; it is started again in 2 s")
    run.send(signal.SIGUSR1)
    assert run.ends() == 0


def test_a_signal_in_the_pause_ends_it_with_the_last_childs_code(swapping):
    run = Run(swapping, COUNTED + "exit $n", "--restart", "--watch", "/dev/null")
    run.says("exited with 2; it is started again in 1 s")
    run.send(signal.SIGINT)
    assert run.ends() == 2
    assert "the original comes back" in run.err


def test_a_signal_that_was_sent_is_no_crash(swapping):
    run = Run(swapping, COUNTED + "exec sleep 600", "--restart", "--watch", "/dev/null")
    run.says("run 1")
    run.send(signal.SIGTERM)
    assert run.ends() == -signal.SIGTERM
    assert "run 2" not in run.out


def test_with_keep_a_clean_exit_waits(swapping):
    run = Run(
        swapping, COUNTED + "[ $n = 1 ] && exit 3; exit 0", "--keep", "--restart", "--watch", "/dev/null"
    )
    run.says("exited with 0; kill -USR1 [0-9]+, or a changed file, starts it again")
    run.send(signal.SIGTERM)
    assert run.ends() == 0


def test_nothing_begins_when_what_is_watched_is_not_there(swapping):
    code, _out, err = swapping.finish("true", options=["--restart", "--watch", "/no/such/file"])
    assert code == 66
    assert err == "telepresence-py: --watch /no/such/file: there is no such file or directory\n"
    assert not swapping.heard_file.exists()


def test_a_changed_file_starts_the_child_again(swapping):
    work = swapping.directory / "work"
    (work / "src").mkdir(parents=True)
    run = Run(swapping, COUNTED + "exec sleep 600", "--restart", "--watch", "src")
    run.says("run 1")
    (work / "src" / "app.py").write_text("1")
    run.says(r"src/app.py changed: the command is started again")
    run.says("run 2")
    (work / "src" / "__pycache__").mkdir()
    (work / "src" / "__pycache__" / "app.pyc").write_text("nobody's business")
    (work / "src" / "other.py").write_text("2")
    run.says("src/other.py changed")
    run.says("run 3")
    run.send(signal.SIGTERM)
    assert run.ends() == -signal.SIGTERM


def test_a_changed_file_starts_a_kept_child_that_waits(swapping):
    run = Run(swapping, COUNTED + "exit 0", "--keep", "--restart", "--watch", "/dev/null", "--watch", ".")
    # the child's own note of its runs is such a change
    run.says("run 2")
    run.send(signal.SIGTERM)
    assert run.ends() == 0


def test_what_changes_while_the_child_starts_is_not_lost(swapping):
    """The first child itself changes what it was started from."""
    run = Run(swapping, COUNTED + "[ $n = 2 ] && exit 0; exec sleep 600", "--restart")
    run.says("runs changed")
    assert run.ends() == 0
    assert "run 2" in run.out


def test_a_command_that_is_gone_at_a_restart_is_a_crash(swapping):
    program = swapping.directory / "program"
    program.write_text("#!/bin/sh\necho here\nrm $0\nexit 1\n")
    program.chmod(0o755)
    process = swapping.begin(str(program), options=["--restart", "--watch", "/dev/null"], namespaces=True)
    while "was not found" not in (line := process.stderr.readline()):
        assert line
    assert "it is started again in 1 s" in line
    program.write_text("#!/bin/sh\necho back\n")
    program.chmod(0o755)
    out, _err = process.communicate(timeout=DEADLINE_SECONDS)
    assert (process.returncode, out) == (0, "here\nback\n")


def test_watchfiles_is_loaded_by_the_watcher_alone(swapping):
    for options in ([], ["--keep", "--restart", "--watch", "/dev/null"]):
        process = swapping.begin("sh", "-c", "cat /proc/$PPID/maps; exec sleep 600", options=options)
        while "[stack]" not in (line := process.stdout.readline()):
            assert line
            assert "watchfiles" not in line
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=DEADLINE_SECONDS)


class StoppingJob:
    """A FAKE job whose child has stopped itself and its group, and is continued as soon as we stop, too."""

    def __init__(self) -> None:
        self.stops = 0
        self.delivered: list[int] = []

    def poll(self) -> None:
        self.stops += 1

    def deliver(self, received: SignalReceived) -> None:
        self.delivered.append(received.number)


def test_a_stop_that_was_read_before_we_stopped_does_not_stop_the_child_again():
    """Editors stop their whole group by a signal, which we may read together with the news of their stop."""
    with selectors.DefaultSelector() as selector, Screen(sys.stderr, Wanted()) as screen:
        with Children(ONCE, screen, selector, None) as children:
            children._job = job = StoppingJob()
            stop = SignalReceived(signal.SIGTSTP, 0, 1, 1, 0)
            stopped = SignalReceived(signal.SIGCHLD, 5, 1, 1, signal.SIGTSTP)
            children.take([stopped, stop])
            assert job.delivered == []
            children.take([stop])
            assert job.delivered == [signal.SIGTSTP]
