"""The method "docker", as far as it needs no docker; and an agent that is the first process already."""

from __future__ import annotations

import os
import select
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from telepresence_py.isolation import agent, docker, userns
from telepresence_py.isolation.facts import HostFacts
from telepresence_py.isolation.namespaces import enter_user_namespace
from telepresence_py.isolation.steps import Step, StepRefused
from telepresence_py.process import kernel
from tests.telepresence_py.isolation.joined import ForkedAgent, run_trio_as, start_joined, view

FACTS = HostFacts("linux", "6.8.0", 1000, docker="/d", nsenter="/n", setpriv="/s")


@pytest.mark.parametrize(
    ("known", "named"),
    [
        ({"platform": "darwin"}, "darwin"),
        ({"user_id": 0}, "--method userns"),
        ({"max_user_namespaces": 0}, "sysctl -w user.max_user_namespaces="),
        ({"docker": ""}, "no docker"),
        ({"nsenter": "", "setpriv": ""}, "no nsenter and no setpriv"),
    ],
)
def test_where_docker_could_not_help_it_is_not_tried(known: dict[str, Any], named: str) -> None:
    assert docker.hindrance(FACTS) is None
    assert named in str(docker.hindrance(replace(FACTS, **known)))


def test_for_a_container_the_agent_is_given_no_file() -> None:
    shown = view(files={"/etc/hosts": b""}, volume_paths=("/data",), container=True, held=True)
    left = docker.without_files(shown)
    assert (left.files, left.volume_paths, left.volume_files) == ({}, (), {})
    assert (left.hostname, left.addresses, left.held) == (shown.hostname, shown.addresses, True)
    assert left.container


STAND_IN = """#!/bin/sh
for word; do
    case $word in
    info) printf '%s\\tDebian\\n' "$(uname -r)"; exit ;;
    load) cat >/dev/null; exit ;;
    run) echo 'docker: no such capability' >&2; exit 125 ;;
    esac
done
"""


@pytest.fixture
def short_path() -> Iterator[Path]:
    """Sockets need one: sun_path has 108 bytes, and pytest's own are long."""
    with tempfile.TemporaryDirectory(prefix="tp-") as name:
        yield Path(name)


def test_what_docker_says_instead_of_starting_it_is_told(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (short_path / "docker").write_text(STAND_IN)
    (short_path / "docker").chmod(0o755)
    (short_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("PATH", f"{short_path}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_path / "run"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{short_path}/docker.sock")
    monkeypatch.setattr("telepresence_py.process.docker._ROOT", os.getuid())

    async def main() -> None:
        with trio.fail_after(20):
            async with docker.enter(view(), lambda _text: None, lambda _path, _descriptor: None):
                pass

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(short_path / "docker.sock"))
        listener.listen()
        with pytest.raises(StepRefused) as caught:
            trio.run(main)
    assert caught.value.refusal.step is Step.DOCKER
    assert "docker says: docker: no such capability" in caught.value.refusal.detail
    assert not list((short_path / "run" / "telepresence-py").iterdir())


def start_first(control: socket.socket) -> ForkedAgent:
    """An agent whose parent has put it into a process namespace of its own, as docker does."""
    above = os.fork()
    if above == 0:
        os.closerange(3, control.fileno())
        os.closerange(control.fileno() + 1, 4096)
        enter_user_namespace()
        kernel.unshare(kernel.CLONE_NEWPID)
        if os.fork() == 0:
            agent.run(control, is_first=True)
        control.close()
        os.wait()
        os._exit(0)
    return ForkedAgent(above)


def test_an_agent_that_is_first_stays_and_its_end_is_that_of_all_others() -> None:
    async def main() -> bytes:
        started: list[ForkedAgent] = []

        def start(control: socket.socket) -> ForkedAgent:
            started.append(start_first(control))
            return started[0]

        shown = view(container=True)
        entering = userns.enter(shown, lambda _text: None, start=start, heir=lambda _pid: started[0])
        async with entering as inside:
            between, reading = start_joined(inside, sleep_for_ever)
            assert not select.select([reading], [], [], 0)[0]
        await trio.lowlevel.wait_readable(reading)
        await trio.to_thread.run_sync(os.waitpid, between, 0)
        return os.read(reading, 1)

    assert run_trio_as("plain", main) == b"", "it was killed before it could answer"


def sleep_for_ever() -> None:
    select.select([], [], [])
