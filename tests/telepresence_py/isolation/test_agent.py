"""However the session ends, nothing of it stays: no process, no mount point."""

from __future__ import annotations

import os
import select
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from telepresence_py.isolation import enter
from telepresence_py.isolation.inside import Inside
from telepresence_py.model.events import Event
from telepresence_py.process import kernel
from tests.telepresence_py.isolation.joined import (
    become_plain,
    each_user,
    entered,
    run_trio_as,
    start_joined,
    view,
)


@pytest.fixture
def own_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="telepresence-test-") as name:
        os.chmod(name, 0o777)
        yield Path(name)


def leave_family(alive: int) -> None:
    """A child, one of its own that left the terminal session, and one of that; all ignore what signals they
    can, and hold `alive` open. Says `!` on it when all stand."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(alive, b"!")
        signal.pause()
    signal.pause()


def is_over(alive: int) -> bool:
    """Whether all who held the other end of the pipe are gone, within a deadline."""
    return bool(select.select([alive], [], [], 10)[0]) and os.read(alive, 10) == b""


@contextmanager
def running_session(user: str, own_directory: Path) -> Iterator[tuple[int, int]]:
    """A session in a process of its own with a family inside: its pid, and the pipe that the family holds."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            if user == "plain" and os.geteuid() == 0:
                become_plain()
            kernel.die_with_parent()
            trio.run(_session, own_directory, writing)
        finally:
            os._exit(1)
    os.close(writing)
    try:
        yield pid, reading
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reading)


async def _session(own_directory: Path, alive: int) -> None:
    async with entered(view(volume_paths=(str(own_directory / "volume"),))) as inside:

        def family() -> None:
            os.write(alive, b"%d " % inside.agent_pid)
            leave_family(alive)

        start_joined(inside, family)
        os.close(alive)
        await trio.sleep_forever()


@each_user
@pytest.mark.parametrize("victim", ["session", "agent"])
def test_when_session_or_agent_are_killed_everything_inside_dies(
    user: str, victim: str, own_directory: Path
) -> None:
    with running_session(user, own_directory) as (session, alive):
        said = b""
        while not said.endswith(b"!"):
            assert select.select([alive], [], [], 10)[0]
            said += os.read(alive, 100)
        agent = int(said.split()[0])
        assert os.listdir(own_directory) == ["volume"]
        agent_ended = os.pidfd_open(agent)
        os.kill(session if victim == "session" else agent, signal.SIGKILL)
        assert is_over(alive)
        assert select.select([agent_ended], [], [], 10)[0]
        os.close(agent_ended)
        # unless it was killed itself, the agent removes the mount point as its last deed
        assert os.listdir(own_directory) == ([] if victim == "session" else ["volume"])


@each_user
def test_leaving_ends_everything_inside(user: str) -> None:
    async def main() -> bool:
        reading, writing = os.pipe()
        async with entered(view()) as inside:
            start_joined(inside, lambda: leave_family(writing))
            os.close(writing)
            await trio.lowlevel.wait_readable(reading)
            assert os.read(reading, 1) == b"!"
        return is_over(reading)

    assert run_trio_as(user, main)


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def test_the_agent_is_a_program_of_its_own_and_the_choice_is_reported() -> None:
    """The product's way: executed, by the first method of the table."""
    events: list[Event] = []

    async def main() -> int:
        async with enter(view(volume_paths=("/data-of-the-pod",)), events.append) as inside:
            assert isinstance(inside, Inside)
            assert "telepresence_py.isolation.agent" in command_line(inside.agent_pid)
            assert os.readlink(f"/proc/{inside.agent_pid}/ns/net") != os.readlink("/proc/self/ns/net")
            return inside.agent_pid

    agent_pid = trio.run(main)
    assert not os.path.exists(f"/proc/{agent_pid}")
    assert [event.name for event in events] == ["isolated"]
