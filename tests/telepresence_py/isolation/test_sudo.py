"""The method "sudo": what it asks sudo for, when it cannot work, and its agent below another program."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import trio

from telepresence_py.isolation import agent, sudo, userns
from telepresence_py.isolation.facts import HostFacts
from telepresence_py.isolation.refusals import explain
from telepresence_py.isolation.steps import Step, StepRefused
from telepresence_py.process.raised_program import raised_command, sudoers_line
from tests.telepresence_py.isolation.joined import (
    ForkedAgent,
    joined,
    run_trio_as,
    view,
)
from tests.telepresence_py.isolation.test_agent import others_inside

FACTS = HostFacts("linux", "6.8.0", 1000, sudo="/usr/bin/sudo", setpriv="/usr/bin/setpriv")


@pytest.mark.parametrize(
    ("known", "named"),
    [
        ({"platform": "darwin"}, "darwin"),
        ({"user_id": 0}, "--method userns"),
        ({"max_user_namespaces": 0}, "sysctl -w user.max_user_namespaces="),
        ({"sudo": ""}, "no sudo"),
        ({"sudo": "", "setpriv": ""}, "no sudo and no setpriv"),
    ],
)
def test_where_sudo_could_not_help_it_is_not_tried(known: dict[str, Any], named: str) -> None:
    assert sudo.hindrance(FACTS) is None
    assert named in str(sudo.hindrance(replace(FACTS, **known)))


def test_what_runs_has_one_right_and_the_users_own_ids() -> None:
    words = " ".join(raised_command("/usr/bin/setpriv", "some.module"))
    assert f"--reuid {os.getuid()} --regid {os.getgid()} " in words
    assert "--bounding-set -all,+sys_admin" in words
    assert words.endswith("-I -m some.module 0 raised")


def test_a_line_for_sudoers_takes_its_words_literally() -> None:
    command = ("/usr/bin/setpriv", "-all,+sys_admin", "/home/a b/c=d:e/python*")
    line = sudoers_line("alice", command)
    words = line.removeprefix("alice ALL=(root) NOPASSWD: ")
    assert words == r"/usr/bin/setpriv -all\,+sys_admin /home/a\ b/c\=d\:e/python\*"


def stand_in(directory: Any, text: str) -> str:
    path = directory / "sudo"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("text", ["echo 'sudo: a password is required' >&2; exit 1", "exec true"])
def test_what_sudo_says_instead_is_told_with_the_line_that_it_wants(
    text: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = replace(FACTS, sudo=stand_in(tmp_path, text))
    monkeypatch.setattr(sudo, "gather", lambda: facts)
    raised = sudo.Raised()

    async def main() -> None:
        entering = userns.enter(view(), lambda _text: None, start=raised.start, heir=raised.heir)
        async with raised.explained(entering, userns.AgentSilent):
            pass

    with pytest.raises(StepRefused) as caught:
        trio.run(main)
    sentence = explain(caught.value.refusal, facts)
    assert caught.value.refusal.step is Step.SUDO
    assert ("a password is required" if "password" in text else "it said nothing") in sentence
    assert " ALL=(root) NOPASSWD: /usr/bin/setpriv --reuid " in sentence


class Raised:
    """A forked agent that stays above the first process, as it does below sudo."""

    def __init__(self) -> None:
        self.program: Program | None = None

    def start(self, control: Any) -> Program:
        pid = os.fork()
        if pid == 0:
            os.closerange(3, control.fileno())
            os.closerange(control.fileno() + 1, 4096)
            agent.run(control, is_raised=True)
        self.program = Program(pid)
        return self.program

    def heir(self, pid: int) -> Program:
        assert self.program is not None
        self.program.above, self.program.pid = self.program.pid, pid
        return self.program


class Program(ForkedAgent):
    above = 0

    def finish(self) -> int:
        os.close(self.descriptor)
        return os.waitpid(self.above or self.pid, 0)[1]


def with_raised(body: Callable[[Any, Raised], Any]) -> Any:
    async def main() -> Any:
        raised = Raised()
        async with userns.enter(view(), lambda _text: None, start=raised.start, heir=raised.heir) as inside:
            return await body(inside, raised)

    return run_trio_as("plain", main)


def test_a_raised_agent_makes_the_same_namespaces_and_is_gone_with_them() -> None:
    async def body(inside: Any, raised: Raised) -> Any:
        assert raised.program is not None
        seen = await joined(inside, others_inside)
        return seen, inside.agent_pid != raised.program.above, raised.program.above

    seen, is_below, above = with_raised(body)
    assert (seen, is_below) == ([1], True)
    assert not os.path.exists(f"/proc/{above}")


@pytest.mark.parametrize("victim", ["above", "first"])
def test_when_either_is_killed_the_world_is_lost(victim: str) -> None:
    async def body(inside: Any, raised: Raised) -> bool:
        assert raised.program is not None
        os.kill(raised.program.above if victim == "above" else inside.agent_pid, signal.SIGKILL)
        await inside.lost.wait()
        return True

    assert with_raised(body)
