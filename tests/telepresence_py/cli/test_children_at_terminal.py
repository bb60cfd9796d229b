"""Several children of one session, at a terminal, against the fake session process."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys

import pytest

from tests.fakes.swapping import Swapping
from tests.fakes.terminal import Person

ENTER = "Enter starts it again"
PROMPT = r"prompt> "
MODES = "import termios; print('modes', termios.tcgetattr(0)[:4])"
SPOIL = (
    "import os, termios, tty; os.set_blocking(0, False); tty.setraw(0); termios.tcflush(0, 0);"
    "os.kill(os.getpid(), 9)"
)


@pytest.fixture
def swapping(tmp_path):
    return Swapping(tmp_path)


def test_enter_starts_a_kept_child_again_and_an_interrupt_ends_the_waiting(swapping):
    with swapping.at_terminal(
        "sh", "-c", "echo begu''n; exit 3", options=["--keep"], namespaces=True
    ) as person:
        for _ in range(3):
            person.expects("begun")
            person.expects(f"exited with 3; {ENTER}, .C gives the workload back")
            person.types("\n")
        person.expects(ENTER)
        person.types("\x03")
        person.expects("the original comes back")
        assert person.ends() == 3
    assert swapping.heard()[2] == {"do": "child-ended", "status": 3}


def test_an_interrupt_reaches_the_kept_child_each_time_and_end_of_file_ends_the_waiting(swapping):
    with swapping.at_terminal(
        "sh", "-c", "echo begu''n; exec sleep 600", options=["--keep"], namespaces=True
    ) as person:
        for _ in range(2):
            person.expects("begun")
            person.types("\x03")
            person.expects(f"ended by SIGINT; {ENTER}")
            person.types("\n")
        person.expects("begun")
        person.types("\x03")
        person.expects(ENTER)
        person.types("\x04")
        assert person.ends() == -signal.SIGINT


def test_an_interrupt_ends_a_child_that_is_restarted_for_good(swapping):
    options = ["--restart", "--watch", "/dev/null"]
    with swapping.at_terminal(
        "sh", "-c", "echo begu''n; exec sleep 600", options=options, namespaces=True
    ) as person:
        person.expects("begun")
        person.types("\x03")
        assert person.ends() == -signal.SIGINT
        assert person.seen.count("begun") == 1


def test_with_both_options_an_interrupt_is_no_crash(swapping):
    options = ["--keep", "--restart", "--watch", "/dev/null"]
    with swapping.at_terminal(
        "sh", "-c", "echo begu''n; exec sleep 600", options=options, namespaces=True
    ) as person:
        person.expects("begun")
        person.types("\x03")
        person.expects("ended by SIGINT; Enter, or a changed file, starts it again")
        person.types("\x03")
        assert person.ends() == -signal.SIGINT


def test_what_was_typed_before_the_question_is_no_answer(swapping, tmp_path):
    fifo = tmp_path / "go"
    os.mkfifo(fifo)
    with swapping.at_terminal("sh", "-c", f"echo begu''n; exec cat {fifo}", options=["--keep"]) as person:
        person.expects("begun")
        person.types("\n\n\n")
        os.close(os.open(fifo, os.O_WRONLY))
        person.expects(ENTER)
        person.types("words\n")
        person.expects(ENTER)
        assert person.seen.count("begun") == 1
        person.types("\n")
        person.expects("begun")
        person.types("\x03")
        person.expects(ENTER)
        person.types("\x04")
        person.ends()


def test_every_child_finds_the_terminal_as_the_first_did(swapping):
    program = f"{MODES}; {SPOIL}"
    with swapping.at_terminal(sys.executable, "-c", program, options=["--keep"], namespaces=True) as person:
        seen = []
        for _ in range(3):
            seen.append(person.expects(r"modes (.*?)\r?\n")[1])
            person.expects(ENTER)
            person.types("\n")
        assert len(set(seen)) == 1
        person.expects("modes")
        person.expects(ENTER)
        person.types("\x03")
        assert person.ends() == -signal.SIGKILL


def test_stop_and_foreground_work_for_every_child_and_for_the_question(swapping):
    swapping.script.write_text(json.dumps({"namespaces": True}))
    swapping.environment["PS1"] = "prompt> "
    words = swapping.words("sh", "-c", "while read line; do echo got $line; done; exit 5", options=["--keep"])
    with Person(["bash", "--norc", "--noprofile", "--noediting", "-i"], swapping.environment) as person:
        person.expects(PROMPT)
        person.types(shlex.join(words) + "\n")
        for number in range(2):
            person.types(f"word{number}\n")
            person.expects(f"got word{number}")
            person.types("\x1a")
            person.expects("Stopped")
            person.expects(PROMPT)
            person.types("fg\n")
            person.expects("fg\r\n[^\n]*swap orders")
            person.types("again\n")
            person.expects("got again")
            person.types("\x04")
            person.expects(f"exited with 5; {ENTER}")
            person.types("\x1a")
            person.expects("Stopped")
            person.expects(PROMPT)
            person.types("fg\n")
            person.expects("fg\r\n[^\n]*swap orders")
            person.expects(ENTER)
            person.types("\n")
        person.types("last\n")
        person.expects("got last")
        person.types("\x04")
        person.expects(ENTER)
        person.types("\x03")
        person.expects(PROMPT)
        person.types("echo code $?\n")
        person.expects("code 5")
        person.types("exit\n")
        assert person.ends() == 0


def test_in_the_background_the_question_is_asked_once_it_has_the_terminal(swapping):
    swapping.script.write_text(json.dumps({"namespaces": True}))
    swapping.environment["PS1"] = "prompt> "
    words = swapping.words("sh", "-c", "echo begu''n; exit 5", options=["--keep"])
    with Person(["bash", "--norc", "--noprofile", "--noediting", "-i"], swapping.environment) as person:
        person.expects(PROMPT)
        person.types(shlex.join(words) + " &\n")
        person.expects("exited with 5; kill -USR1")
        person.types("echo the shell rea''ds\n")
        person.expects("the shell reads")
        person.types("fg\n")
        person.expects(f"exited with 5; {ENTER}")
        person.types("\n")
        person.expects("begun")
        person.expects(ENTER)
        person.types("\x04")
        person.expects(PROMPT)
        person.types("exit\n")
        person.ends()


def test_a_shell_as_the_kept_child_gives_the_terminal_back_each_time(swapping):
    swapping.environment["PS1"] = "inner> "
    shell = ("bash", "--norc", "--noprofile", "--noediting", "-i")
    with swapping.at_terminal(*shell, options=["--keep"], namespaces=True) as person:
        for _ in range(2):
            person.expects("inner> ")
            person.types("cat\nfirst\n")
            person.expects(r"first\r\n[\s\S]*first\r\n")
            person.types("\x03")
            person.expects("inner> ")
            person.types("exit 4\n")
            person.expects(f"exited with 4; {ENTER}")
            person.types("\n")
        person.expects("inner> ")
        person.types("kill -9 $$\n")
        person.expects(f"ended by SIGKILL; {ENTER}")
        person.types("\x04")
        assert person.ends() == -signal.SIGKILL


def test_an_interpreter_is_left_and_started_again(swapping):
    """Its own line editing sets the terminal's modes, and it takes ^C for itself."""
    swapping.environment["PYTHON_HISTORY"] = "/dev/null"
    with swapping.at_terminal(sys.executable, "-q", options=["--keep"], namespaces=True) as person:
        for number in range(2):
            person.expects(">>> ")
            person.types(f"{number} + 40\n")
            person.expects(rf"\n{number + 40}\r\n.*>>> ")
            person.types("import time; print('nap'); time.sleep(600)\n")
            person.expects("nap\r\n")
            person.types("\x03")
            person.expects("KeyboardInterrupt")
            person.expects(">>> ")
            person.types("\x04")
            person.expects(ENTER)  # ended by SIGINT, it says, as Python does if ^C was ever its own
            person.types("\n")
        person.expects(">>> ")
        person.types("import os; os._exit(7)\n")
        person.expects(f"exited with 7; {ENTER}")
        person.types("\x04")
        assert person.ends() == 7


def test_a_hang_up_ends_the_waiting(swapping):
    with swapping.at_terminal("sh", "-c", "exit 5", options=["--keep"], namespaces=True) as person:
        person.expects(ENTER)
        person.hang_up()
        assert person.ends() == 5
    assert swapping.heard_tags()[-1] == "restored"
