"""The command ends and starts again while the workload stays ours: nobody who connects meanwhile is lost."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from integration.probe.manifests import Workload, probe_config_map
from integration.probe.town import settle
from integration.support.aftermath import (
    Before,
    assert_no_process_left,
    assert_restored,
    remember,
    sidecar_pods,
)
from integration.support.namespaces import Namespace
from integration.support.product import Product, Running
from integration.support.terminal import END_OF_FILE, INTERRUPT, SUSPEND
from integration.support.waiting import wait_until

URL = "http://kept/"
CUSTOMERS = 4
CUT_OFF = ("RemoteDisconnected", "ConnectionResetError", "IncompleteRead")
"""What a customer sees whose request the child had accepted and never answered."""

SUPERVISOR = """\
import os, signal, subprocess, sys, time
program, runs, wanted = sys.argv[1:], 0, []
for number in (signal.SIGUSR1, signal.SIGTERM):
    signal.signal(number, lambda number, _frame: wanted.append(number))
while signal.SIGTERM not in wanted:
    runs, wanted = runs + 1, []
    worker = subprocess.Popen([sys.executable, *program], env=os.environ | {"PROBE_WHO": f"worker {runs}"})
    while not wanted:
        time.sleep(0.05)
    worker.terminate()
    worker.wait()
"""
"""Restarts its worker, as the reloaders of web servers do: the port is closed and bound again."""


@pytest.fixture(scope="module")
def deployed(town: Namespace) -> Before:
    settle(town, probe_config_map(), *Workload("kept", replicas=2).objects())
    return remember(town, "kept")


@pytest.fixture
def kept(deployed: Before, townsman: Product) -> Iterator[Before]:
    """A workload of two replicas, before every test as it was at first."""
    yield deployed
    townsman.end_all()
    townsman.run("restore", "--all", "--force")
    assert_restored(deployed)


@pytest.fixture
def counted(townsman: Product, request: pytest.FixtureRequest) -> tuple[str, ...]:
    """A command that serves HTTP as `run N`, the N-th time that it is started; ends well by SIGTERM."""
    runs = townsman.directory / f"runs-{request.node.name}"
    serve = f"{townsman.python} {townsman.source('integration/probe/probe.py')} serve http:8080"
    count = f"n=$(($(cat '{runs}' 2>/dev/null || echo 0) + 1)); echo $n >'{runs}'"
    return "sh", "-c", f'{count}; PROBE_WHO="run $n" exec {serve}'


@pytest.fixture
def watched(townsman: Product) -> Path:
    path = townsman.directory / "watched"
    path.write_text("first")
    return townsman.user.give(path)


def who_answers(town: Namespace) -> str:
    return str(json.loads(town.ask(URL))["who"])


def wait_answer(town: Namespace, who: str) -> None:
    wait_until(lambda: who_answers(town) == who, 30, f"{who} answers")


def readiness(town: Namespace) -> dict[str, Any]:
    """Of each of our pods since when it is Ready, or that it is not."""
    return {
        pod["metadata"]["name"]: [
            (one["status"], one["lastTransitionTime"])
            for one in pod["status"]["conditions"]
            if one["type"] == "Ready"
        ]
        for pod in sidecar_pods(town, "kept")
    }


def child_of(running: Running) -> int:
    """The pid of the command that the CLI runs now."""
    for pid in Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split():
        if b"probe.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return int(pid)
    raise AssertionError("no command runs")


def test_no_request_fails_while_changed_files_start_the_command_again(
    town: Namespace, townsman: Product, kept: Before, counted: tuple[str, ...], watched: Path
) -> None:
    with town.load(URL, CUSTOMERS) as tally:
        running = townsman.start("swap", "kept", "--restart", "--watch", str(watched), "--", *counted)
        running.wait_in_place()
        before = readiness(town)
        for run in (2, 3, 4):
            watched.write_text(f"for run {run}")
            wait_answer(town, f"run {run}")
        assert readiness(town) == before, "the pods stay Ready"
        running.send(signal.SIGTERM)
        assert running.wait() == 0
        assert_restored(kept)
    assert tally.failures == []
    assert set(tally.answers) == {"cluster", "run 1", "run 2", "run 3", "run 4"}
    assert running.err.count("watched changed") == 3
    assert_no_process_left(townsman)


def test_a_crash_costs_what_the_command_had_accepted_and_no_more(
    town: Namespace, townsman: Product, kept: Before, counted: tuple[str, ...], watched: Path
) -> None:
    with town.load(URL, CUSTOMERS) as tally:
        options = ("--restart", "--watch", str(watched))
        running = townsman.start("swap", "kept", *options, "--", *counted)
        running.wait_in_place()
        for crash in (1, 2):
            os.kill(child_of(running), signal.SIGKILL)
            wait_answer(town, f"run {crash + 1}")
        running.send(signal.SIGTERM)
        assert running.wait() == 0
    assert running.err.count("ended by SIGKILL; it is started again") == 2
    others = [failure for failure in tally.failures if not any(cut in failure for cut in CUT_OFF)]
    assert others == []
    assert len(tally.failures) <= 2 * CUSTOMERS


def test_at_a_terminal_who_connects_between_two_commands_is_answered_by_the_next(
    town: Namespace, townsman: Product, kept: Before, counted: tuple[str, ...]
) -> None:
    terminal = townsman.terminal("swap", "kept", "--keep", "--", *counted)
    terminal.wait_screen(r"In place: ", 120)
    for run in (1, 2):
        assert who_answers(town) == f"run {run}"
        asked_at = len(terminal.screen)
        terminal.type(INTERRUPT)
        terminal.wait_screen(
            r"ended by SIGINT; Enter starts it again, \^C gives the workload", after=asked_at
        )
        with ThreadPoolExecutor(1) as beside:
            waiting = beside.submit(who_answers, town)
            with pytest.raises(TimeoutError):
                waiting.result(1.5)
            terminal.type("\n")
            assert waiting.result(20) == f"run {run + 1}"
    asked_at = len(terminal.screen)
    terminal.type(INTERRUPT)
    terminal.wait_screen(r"Enter starts it again", after=asked_at)
    terminal.type(INTERRUPT)
    assert terminal.wait() == 128 + signal.SIGINT
    assert_restored(kept)
    assert_no_process_left(townsman)


def test_a_shell_suspends_and_resumes_a_swap_with_its_second_command(townsman: Product, kept: Before) -> None:
    shell = townsman.shell()
    shell.wait_screen(r"\$ ")
    program = "echo begun; read word; echo got $word; exit 3"
    shell.type(f"telepresence-py swap kept --keep --ready now -- sh -c '{program}'\n")
    shell.wait_screen(r"In place: ", 120)
    at = 0
    for word in ("first", "second"):
        at = shell.wait_screen(r"^begun", after=at).end()
        shell.type(SUSPEND)
        at = shell.wait_screen(r"Stopped.*\n.*\$ ", after=at).end()
        shell.type("fg\n")
        at = shell.wait_screen(r"telepresence-py swap", after=at).end()
        shell.type(f"{word}\n")
        at = shell.wait_screen(rf"got {word}", after=at).end()
        at = shell.wait_screen(r"exited with 3; Enter starts it again", after=at).end()
        shell.type("\n")
    shell.wait_screen(r"^begun", after=at)
    shell.type("third\n")
    at = shell.wait_screen(r"got third", after=at).end()
    shell.wait_screen(r"Enter starts it again", after=at)
    shell.type(END_OF_FILE)
    shell.type("echo code $?.\n")
    shell.wait_screen(r"code 3\.", 60)
    shell.type("exit\n")


def test_connections_wait_while_a_supervisor_restarts_its_worker(
    town: Namespace, townsman: Product, kept: Before
) -> None:
    probe = (townsman.source("integration/probe/probe.py"), "serve", "http:8080")
    with town.load(URL, CUSTOMERS) as tally:
        running = townsman.start("swap", "kept", "--", townsman.python, "-c", SUPERVISOR, *probe)
        running.wait_in_place()
        for worker in (2, 3):
            running.send(signal.SIGUSR1)
            wait_answer(town, f"worker {worker}")
        running.send(signal.SIGTERM)
        assert running.wait() == 0
        assert_restored(kept)
    assert tally.failures == []
    assert set(tally.answers) == {"cluster", "worker 1", "worker 2", "worker 3"}


def test_a_killed_cli_that_waits_gives_the_workload_back(
    town: Namespace, townsman: Product, kept: Before
) -> None:
    """Also when its command never listened: it is in place all the same, as it was told to."""
    running = townsman.start("swap", "kept", "--keep", "--ready", "now", "--", "sh", "-c", "exit 4")
    running.wait_in_place()
    running.wait_err(r"exited with 4; kill -USR1 \d+ starts it again, kill \d+ gives the workload back")
    running.send_group(signal.SIGKILL)
    assert_restored(kept)
    assert_no_process_left(townsman)


def test_a_workload_that_is_deleted_ends_the_waiting(namespace: Namespace, product: Product) -> None:
    settle(namespace, probe_config_map(), *Workload("doomed").objects())
    running = product.start("swap", "doomed", "--keep", "--", "sh", "-c", "exit 4")
    running.wait_err(r"exited with 4; kill -USR1")
    namespace.kubectl("delete", "deployment", "doomed", "--wait=false")
    assert running.wait() == 75
    wait_until(lambda: not sidecar_pods(namespace, "doomed"), 30, "nothing of ours is left")
    assert_no_process_left(product)
