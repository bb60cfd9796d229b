"""What a person at a terminal sees: ^C, ^Z and fg, the window's size, a shell as the child, a hang-up."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys

import pytest

from tests.fakes.swapping import Swapping
from tests.fakes.terminal import Person
from tests.fakes.waiting import wait_until

PROMPT = r"prompt> "
WINDOW = """
import os, signal
signal.signal(signal.SIGINT, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGWINCH])
print("ready", flush=True)
while signal.sigwait([signal.SIGWINCH]):
    print("size", *os.get_terminal_size(), flush=True)
"""


@pytest.fixture
def swapping(tmp_path):
    return Swapping(tmp_path)


@pytest.fixture(params=["plain", "namespaces", "elsewhere"])
def script(request, swapping):
    """With real namespaces the child's own pid namespace cannot name the terminal's process groups. Elsewhere
    is where there is no Linux."""
    if request.param == "elsewhere":
        swapping.go_elsewhere()
    return {"namespaces": request.param == "namespaces"}


def shell(swapping: Swapping) -> Person:
    """An interactive shell with job control, from which the CLI is started."""
    swapping.environment["PS1"] = "prompt> "
    return Person(["bash", "--norc", "--noprofile", "--noediting", "-i"], swapping.environment)


def command_line(swapping: Swapping, *command: str) -> str:
    return shlex.join(swapping.words(*command)) + "\n"


def test_an_interrupt_ends_the_child_and_the_original_is_restored(swapping, script):
    with swapping.at_terminal("sh", "-c", "echo $((40 + 2)); exec sleep 600", **script) as person:
        person.expects("42")
        person.types("\x03")
        assert person.ends() == -signal.SIGINT
    assert swapping.heard()[2] == {"do": "child-ended", "status": -signal.SIGINT}
    assert swapping.heard_tags()[-1] == "restored"


def test_a_child_that_handles_the_interrupt_goes_on(swapping, script):
    command = ("sh", "-c", "trap 'echo caught; exit 3' INT; echo re''ady; while :; do sleep 0.05; done")
    with swapping.at_terminal(*command, **script) as person:
        person.expects("ready")
        person.types("\x03")
        person.expects("caught")
        assert person.ends() == 3


def test_an_interrupt_before_the_child_stops_the_preparation(swapping):
    with swapping.at_terminal("true", before="wait") as person:
        person.expects("waiting")
        person.types("\x03")
        assert person.ends() == -signal.SIGINT
    assert swapping.heard_tags() == ["swap", "stop", "restored"]


def test_the_second_interrupt_in_a_restore_does_not_wait_for_its_end(swapping, tmp_path):
    fifo = tmp_path / "restoring"
    os.mkfifo(fifo)
    with swapping.at_terminal("true", restoring=str(fifo)) as person:
        person.expects("restoring")
        person.types("\x03")
        person.expects("C again does not wait")
        person.types("\x03")
        person.expects("goes on restoring")
        assert person.ends() == 0
    assert "restored" not in swapping.heard_tags()
    os.close(os.open(fifo, os.O_WRONLY))
    wait_until(lambda: "restored" in swapping.heard_tags(), "the session process restores")


def test_stop_and_foreground_work_as_for_any_job(swapping, script):
    swapping.script.write_text(json.dumps(script))
    with shell(swapping) as person:
        person.expects(PROMPT)
        loop = "while read line; do echo got $line; done; exit 5"
        person.types(command_line(swapping, "sh", "-c", loop))
        for number in range(5):
            person.types(f"word{number}\n")
            person.expects(f"got word{number}")
            person.types("\x1a")
            person.expects("Stopped")
            person.expects(PROMPT)
            person.types("fg\n")
            person.expects("fg\r\n[^\n]*swap orders")
            wait_until(lambda: _holds_stops_back(person), "the CLI is continued")
        person.types("\x04")
        person.expects(PROMPT)
        person.types("echo code $?\n")
        person.expects("code 5")
        person.types("exit\n")
        assert person.ends() == 0


def test_continuing_the_cli_alone_continues_the_child(swapping, script):
    swapping.script.write_text(json.dumps(script))
    with shell(swapping) as person:
        person.expects(PROMPT)
        person.types(command_line(swapping, "sh", "-c", "echo re''ady; exec sleep 600"))
        person.expects("ready\r\n")
        person.types("\x1a")
        person.expects("Stopped")
        person.expects(PROMPT)
        os.kill(_leader(person), signal.SIGCONT)
        os.kill(_leader(person), signal.SIGTERM)
        person.types("wait $(jobs -p); echo code $?\n")
        person.expects("code 143")
        person.types("exit\n")
        person.ends()


def test_a_child_in_the_background_goes_on_and_stops_when_it_reads(swapping, script):
    swapping.script.write_text(json.dumps(script))
    with shell(swapping) as person:
        person.expects(PROMPT)
        person.types(
            command_line(swapping, "sh", "-c", "echo re''ady; read line; echo got $line").replace(
                "\n", " &\n"
            )
        )
        person.expects("ready")
        wait_until(lambda: _state(_leader(person)) == "T", "the job stops as its child reads")
        person.types("fg\n")
        person.expects("fg\r\n[^\n]*swap orders")
        person.types("word\n")
        person.expects("got word")
        person.types("exit\n")
        assert person.ends() == 0


def test_the_windows_size_reaches_the_child_once(swapping, script):
    with swapping.at_terminal(sys.executable, "-c", WINDOW, **script) as person:
        person.expects("ready")
        person.resizes(33, 101)
        person.expects("size 101 33")
        person.types("\x03")
        assert person.ends() == -signal.SIGINT
        assert person.seen.count("size") == 1


def test_a_shell_as_the_child_has_job_control_and_gives_the_terminal_back(swapping, script):
    swapping.script.write_text(json.dumps(script))
    with shell(swapping) as person:
        person.expects(PROMPT)
        swap = command_line(
            swapping, "env", "PS1=inner> ", "bash", "--norc", "--noprofile", "--noediting", "-i"
        )
        person.types(swap)
        person.expects("(?<!=)inner> ")
        person.types("cat\nfirst\n")
        person.expects(r"first\r\n[\s\S]*first\r\n")
        person.types("\x1a")
        person.expects("Stopped")
        person.expects("inner> ")
        person.types("fg\nsecond\n")
        person.expects(r"second\r\n[\s\S]*second\r\n")
        person.types("\x03")
        person.expects("inner> ")
        person.types("exit 4\n")
        person.expects(PROMPT)
        person.types("echo code $?; cat\n")
        person.expects("code 4")
        person.types("the terminal is ours\n")
        person.expects("the terminal is ours\r\nthe terminal is ours")
        person.types("\x03")
        person.expects(PROMPT)
        person.types("exit\n")
        person.ends()


def test_a_script_without_job_control_has_the_terminal_back_after_a_shell_as_the_child(swapping, script):
    swapping.script.write_text(json.dumps(script))
    inner = command_line(
        swapping, "env", "PS1=inner> ", "bash", "--norc", "--noprofile", "--noediting", "-i"
    ).strip()
    with Person(["bash", "-c", f"{inner}; read line; echo read $line"], swapping.environment) as person:
        person.expects("inner> ")
        person.types("exit\n")
        person.expects("restored")
        person.types("this\n")
        person.expects("read this")
        assert person.ends() == 0


def test_a_hang_up_ends_the_child_and_restores(swapping, script):
    with swapping.at_terminal("sh", "-c", "echo re''ady; exec sleep 600", **script) as person:
        person.expects("ready")
        person.hang_up()
        assert person.ends() == -signal.SIGHUP
    assert swapping.heard()[2] == {"do": "child-ended", "status": -signal.SIGHUP}
    assert swapping.heard_tags()[-1] == "restored"


def test_a_lost_session_leaves_no_raw_terminal(swapping, tmp_path):
    """Its child is ended by us, so the shell, which sees an exit code, would take its modes for meant."""
    fifo = tmp_path / "later"
    os.mkfifo(fifo)
    swapping.script.write_text(json.dumps({"while_running": "stop-child", "later": str(fifo)}))
    program = "import signal, tty; tty.setraw(0); print('re' 'ady', flush=True); signal.pause()"
    with shell(swapping) as person:
        person.expects(PROMPT)
        person.types(command_line(swapping, sys.executable, "-c", program))
        person.expects("ready")
        os.close(os.open(fifo, os.O_WRONLY))
        person.expects("was deleted")
        person.expects(PROMPT)
        person.types("echo code $?; stty -a\n")
        person.expects("code 75")
        person.expects(r"(?<!-)icanon")
        person.types("exit\n")
        person.ends()


def test_an_unfinished_line_of_the_child_stays_on_the_terminal(swapping):
    with swapping.at_terminal("sh", "-c", "printf 'no end'") as person:
        assert person.ends() == 0
    # a terminal of 80 columns shows the blanks on the same line up to its end, and then on the next
    assert f"no end{' ' * 80}\r" in person.seen


def test_a_protected_context_is_asked_about(swapping):
    with swapping.at_terminal("echo", "went", "on", before="confirm") as person:
        person.expects(r"Go on\? \[y/N\] ")
        person.types("y\n")
        person.expects("went on")
        assert person.ends() == 0


def test_no_is_the_answer_unless_it_is_yes(swapping):
    with swapping.at_terminal("true", before="confirm") as person:
        person.expects(r"\[y/N\] ")
        person.types("\n")
        person.expects("nothing was touched")
        assert person.ends() == 78


def test_the_child_is_in_the_terminals_foreground_group_and_the_callers_session(swapping, script):
    code = "import os; print(os.isatty(0), os.getpgid(0) == os.tcgetpgrp(0), os.getsid(0) == os.getpid())"
    with swapping.at_terminal(sys.executable, "-c", code, **script) as person:
        person.expects("True True False")
        assert person.ends() == 0


def test_the_processes_that_the_child_leaves_end_with_the_session(swapping):
    with swapping.at_terminal("sh", "-c", "setsid sleep 600 & echo $!", namespaces=True) as person:
        assert person.ends() == 0
    wait_until(lambda: not _running("sleep\x00600\x00", swapping), "the child's tree is gone")


def _leader(person):
    """The process that the shell took for its job: the CLI."""
    with open(f"/proc/{person.pid}/task/{person.pid}/children") as children:
        return int(children.read().split()[0])


def _state(pid):
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0]


def _holds_stops_back(person):
    """Just continued, the CLI may be stopped by ^Z at once, before the child is: wait until it cannot."""
    with open(f"/proc/{_leader(person)}/status") as status:
        held = [line.split()[1] for line in status if line.startswith(("SigBlk", "SigCgt"))]
    return any(int(signals, 16) & 1 << (signal.SIGTSTP - 1) for signals in held)


def _running(command, swapping):
    mark = f"FAKE_SESSION={swapping.script}"
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline") as line, open(f"/proc/{pid}/environ") as environ:
                found.append(line.read() == command and mark in environ.read())
        except OSError:
            continue
    return any(found)
