"""The child is an ordinary program of the caller's terminal: streams, arguments, signals, exit code."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.probe.manifests import Workload, probe_config_map
from integration.probe.swapping import python_probe, swapped
from integration.probe.town import settle
from integration.support.aftermath import Before, assert_nothing_touched, assert_restored, remember
from integration.support.namespaces import Namespace
from integration.support.product import Product
from integration.support.terminal import INTERRUPT, SUSPEND

BINARY = bytes(range(256)) * 4000


@pytest.fixture(scope="module")
def deployed_worker(town: Namespace) -> Before:
    """A workload without ports, which is in place as soon as it is adopted."""
    settle(town, probe_config_map(), Workload("worker", listen=(), ports=(), service=False).deployment())
    return remember(town, "worker")


@pytest.fixture
def worker(deployed_worker: Before, townsman: Product) -> Iterator[Before]:
    """The same, before every test as it was at first."""
    yield deployed_worker
    townsman.end_all()
    assert_restored(deployed_worker)


def test_streams_directory_arguments_and_exit_code_are_the_childs(worker: Before, townsman: Product) -> None:
    program = 'cat; printf "%s\\n" "$@" "$PWD" >&2; exit 7'
    words = ("two words", "", "*", "--help", "-p", 'a"b')
    running = townsman.start(
        "swap", "worker", "--", "sh", "-c", program, "sh", *words, directory=townsman.directory
    )
    assert running.process.stdin is not None
    running.process.stdin.write(BINARY)
    running.process.stdin.close()
    assert running.wait() == 7
    assert running.out_file.read_bytes() == BINARY, "stdout is the child's alone, byte for byte"
    assert "\n".join((*words, str(townsman.directory))) in running.err


def test_a_closed_standard_input_does_no_harm(worker: Before, townsman: Product) -> None:
    """The session comes and goes as ever; who reads from it in the command finds nothing."""
    child = "sh -c 'cat || echo nothing is read; cat /etc/hostname; exit 3'"
    ended = townsman.start_command(["sh", "-c", f"exec telepresence-py swap worker -- {child} <&-"]).finish()
    assert ended.code == 3, ended.err
    assert "worker-" in ended.out


@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL", "SIGSEGV"])
def test_a_child_that_a_signal_ended_gives_128_and_its_number(
    worker: Before, townsman: Product, name: str
) -> None:
    ended = townsman.run("swap", "worker", "--", "sh", "-c", f"kill -{name.removeprefix('SIG')} $$")
    assert ended.code == 128 + signal.Signals[name]
    assert ended.out == ""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT", "SIGUSR1"])
def test_a_signal_to_the_cli_alone_reaches_the_child_once(
    worker: Before, townsman: Product, name: str
) -> None:
    with swapped(townsman, "worker", child=python_probe(townsman)) as swap:
        swap.probe.ask("catch", names=[name])
        swap.running.send(signal.Signals[name])
        swap.probe.wait_caught([name])
        assert swap.probe.ask("caught") == [name]
        assert swap.end() == 0


def test_without_a_terminal_the_child_has_none(worker: Before, townsman: Product) -> None:
    with swapped(townsman, "worker", child=python_probe(townsman)) as swap:
        seen = swap.probe.ask("process")
        assert seen["terminals"] == [False, False, False]
        assert seen["uid"] == townsman.user.uid
        assert int(seen["capabilities"], 16) == 0, "the child has no privilege"
        assert swap.end() == 0


def test_in_a_terminal_the_child_is_its_foreground_job(worker: Before, townsman: Product) -> None:
    """Window size, ^C to the child and not to us, and the child's code in the end."""
    program = (
        "import os, signal, sys\n"
        "print('tty', [os.isatty(fd) for fd in (0, 1, 2)], 'foreground', os.tcgetpgrp(0) == os.getpgrp())\n"
        "def show(*_): print('size', tuple(os.get_terminal_size()), flush=True)\n"
        "signal.signal(signal.SIGWINCH, show); show()\n"
        "signal.signal(signal.SIGINT, lambda *_: (print('interrupted', flush=True), sys.exit(5)))\n"
        "while True: signal.pause()\n"
    )
    terminal = townsman.terminal("swap", "worker", "--", townsman.python, "-c", program)
    terminal.wait_screen(r"tty \[True, True, True\] foreground True", 60)
    terminal.wait_screen(r"size \(80, 24\)")
    terminal.resize(40, 120)
    terminal.wait_screen(r"size \(120, 40\)")
    terminal.wait_screen(r"In place: ", 120)
    terminal.type(INTERRUPT)
    terminal.wait_screen(r"interrupted")
    assert terminal.wait() == 5


def test_a_shell_suspends_and_resumes_the_swap_as_one_job(worker: Before, townsman: Product) -> None:
    shell = townsman.shell()
    shell.wait_screen(r"\$ ")
    shell.type("telepresence-py swap worker -- sh -c 'echo begun; read word; echo got $word; exit 3'\n")
    shell.wait_screen(r"^begun", 60)
    shell.wait_screen(r"In place: ", 120)
    shell.type(SUSPEND)
    shell.wait_screen(r"Stopped")
    shell.type("echo shell has the ter''minal\n")
    shell.wait_screen(r"shell has the terminal")
    shell.type("fg\n")
    shell.type("hello\n")
    shell.wait_screen(r"got hello")
    shell.type("echo code $?.\n")
    shell.wait_screen(r"code 3\.", 60)
    shell.type("exit\n")


def test_without_a_command_it_is_the_users_shell(worker: Before, townsman: Product) -> None:
    terminal = townsman.terminal("swap", "worker", environment={"PS1": "inside> "})
    terminal.wait_screen(r"In place: ", 120)
    terminal.type("sed 's/^/host name: /' /etc/hostname; echo shell is $0\n")
    terminal.wait_screen(r"host name: worker-.*-tp-1")
    terminal.wait_screen(r"shell is .*bash")
    terminal.type("exit 4\n")
    assert terminal.wait() == 4


@pytest.mark.parametrize(("code", "make"), [(127, "absent"), (126, "not executable"), (126, "a directory")])
def test_a_command_that_cannot_be_run_is_refused_before_anything_is_touched(
    worker: Before, townsman: Product, code: int, make: str
) -> None:
    path = townsman.directory / make.replace(" ", "-")
    if make == "not executable":
        path.write_text("#!/bin/sh\n")
        path.chmod(0o644)
    elif make == "a directory":
        path.mkdir()
    ended = townsman.run("swap", "worker", "--", str(path))
    assert ended.code == code
    assert str(path) in ended.err
    assert_nothing_touched(worker)


def test_quiet_says_nothing(worker: Before, townsman: Product) -> None:
    ended = townsman.run("swap", "worker", "--quiet", "--", "echo", "the child's own")
    assert (ended.code, ended.out, ended.err) == (0, "the child's own\n", "")


def test_a_log_file_has_everything_and_stderr_every_step(worker: Before, townsman: Product) -> None:
    log = townsman.directory / "told.log"
    options = ("--verbose", "--log-file", str(log))
    with swapped(townsman, "worker", *options, child=python_probe(townsman)) as swap:
        assert swap.end() == 0
    for told in (swap.running.err, log.read_text()):
        for step in ("Created pod", "Connected to", "In place: ", "Restored"):
            assert step in told
        assert not re.search(r"s3cret|Bearer|eyJ", told), "no secret is told"


@pytest.mark.alone
def test_help_is_there_at_once(townsman: Product) -> None:
    """Under 0.2 s of CPU: other work on this machine does not count."""
    townsman.run("--help")
    before = os.times()
    ended = townsman.run("--help")
    after = os.times()
    assert ended.code == 0
    assert "swap" in ended.out
    used = after.children_user + after.children_system - before.children_user - before.children_system
    assert used < 0.2


def test_the_child_begins_in_the_callers_directory_even_if_it_is_the_users_own(
    worker: Before, townsman: Product
) -> None:
    directory = townsman.directory / "däta with spaces"
    directory.mkdir()
    townsman.user.give(directory)
    running = townsman.start("swap", "worker", "--", "sh", "-c", "pwd; echo kept >file", directory=directory)
    assert running.wait() == 0
    assert running.out == f"{directory}\n"
    assert Path(directory, "file").read_text() == "kept\n"
