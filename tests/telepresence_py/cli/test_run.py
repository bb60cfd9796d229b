"""`run` on the command line, and around a child against the fake session process."""

from __future__ import annotations

import signal

import pytest
from click.testing import CliRunner

from telepresence_py.cli import run as cli_run
from telepresence_py.model.errors import BadUsage
from telepresence_py.model.intent import Model, PortOverride
from tests.fakes.swapping import Swapping
from tests.fakes.waiting import wait_until


def intent(*words: str, command: tuple[str, ...] = ("x",)):
    """What the words make, as click parses them."""
    context = cli_run.run.make_context("run", list(words))
    options = {name: value for name, value in context.params.items() if name != "command"}
    return cli_run.run_intent(context.params["command"] or command, options)


def test_an_intent_holds_what_was_typed():
    typed = intent(
        *("--name", "api", "--expose", "9000:8080", "--expose", "7"),
        *("--like", "cj/clean:main", "--serviceaccount", "robot", "--grace", "1m", "--ready", "now"),
        *("--", "a", "-b"),
    )
    assert (typed.name, typed.service_account, typed.command) == ("api", "robot", ("a", "-b"))
    assert typed.model == Model("cronjob", "clean", "main")
    assert typed.exposed == (PortOverride(9000, 8080), PortOverride(7, 7))
    assert (typed.grace_seconds, typed.ready_now, typed.fast_connect) == (60.0, True, False)
    assert intent("--connect", "fast").fast_connect


def test_nothing_need_be_said():
    typed = intent()
    assert (typed.name, typed.model, typed.service_account, typed.exposed) == (None, None, None, ())


def test_without_a_command_the_users_shell_is_run(monkeypatch):
    monkeypatch.setenv("SHELL", "/bin/zsh")
    assert intent(command=()).command == ("/bin/zsh",)


def test_a_deployment_is_meant_where_the_kind_is_left_out():
    assert intent("--like", "orders").model == Model("deployment", "orders")


@pytest.mark.parametrize("name", ["Api", "1st", "a.b", "a-", "-a", "", "a" * 64, "a b", "\u00fc"])
def test_a_name_that_no_service_may_have_is_refused(name):
    with pytest.raises(BadUsage, match="--name"):
        intent("--name", name)


@pytest.mark.parametrize("words", [["x"], ["1:2:3"], ["0"], ["70000"], ["1", "2:1"], ["80:"]])
def test_a_malformed_port_is_refused_with_its_option(words):
    with pytest.raises(BadUsage, match="--expose"):
        intent(*(part for word in words for part in ("--expose", word)))


def test_help_tells_what_happens():
    told = CliRunner().invoke(cli_run.run, ["--help"]).output
    for word in ("--expose LOCAL[:POD]", "--like KIND/NAME[:CONTAINER]", "--serviceaccount", "no workload"):
        assert word in told


@pytest.fixture
def running(tmp_path):
    one = Swapping(tmp_path, "run")
    yield one
    one.close()


def test_the_command_is_run_and_its_code_returned(running):
    assert running.finish("sh", "-c", "echo here; exit 3")[:2] == (3, "here\n")
    assert running.heard()[0]["do"] == "run"


def test_an_interrupt_while_preparing_speaks_of_the_pod(running):
    process = running.begin("true", before="wait")
    wait_until(lambda: running.heard_file.exists() and running.heard_tags() == ["run"], "it is told")
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT
    assert "its pod is removed" in told
