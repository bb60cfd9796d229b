"""However the session ends, nothing of it stays: no process, no mount point."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from telepresence_py.isolation import agent, enter, userns
from telepresence_py.isolation.inside import Inside
from telepresence_py.model.events import Event
from telepresence_py.process import kernel
from tests.telepresence_py.isolation.joined import (
    become_plain,
    each_user,
    entered,
    joined,
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
        agent_pid = int(said.split()[0])
        assert os.listdir(own_directory) == ["volume"]
        agent_ended = os.pidfd_open(agent_pid)
        os.kill(session if victim == "session" else agent_pid, signal.SIGKILL)
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


@each_user
def test_a_first_process_that_is_faster_than_its_announcement_waits_for_it(
    user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    become_first = agent.become_first

    def with_a_slow_voice(announce: Callable[[int], None], beside_us: bool) -> int:
        def later(pid: int) -> None:
            time.sleep(0.3)  # a busy machine
            announce(pid)

        return become_first(later, beside_us)

    monkeypatch.setattr(agent, "become_first", with_a_slow_voice)

    async def main() -> list[int]:
        async with entered(view()) as inside:
            return await joined(inside, others_inside)

    assert run_trio_as(user, main) == [1]


def others_inside() -> list[int]:
    """The pids that /proc shows, but our own."""
    return sorted({int(name) for name in os.listdir("/proc") if name.isdigit()} - {os.getpid()})


@each_user
def test_the_agent_is_the_first_process_inside_and_there_is_no_other(user: str) -> None:
    async def main() -> tuple[list[int], str]:
        async with entered(view()) as inside:
            return await joined(inside, others_inside), os.readlink(f"/proc/{inside.agent_pid}/ns/pid")

    others, namespace = run_trio_as(user, main)
    assert others == [1]
    assert namespace != os.readlink("/proc/self/ns/pid")


@each_user
def test_two_sessions_have_no_pid_in_common_but_the_first(user: str) -> None:
    """What their children name by their pids in /tmp, as JVMs do, would be contended for."""

    async def main() -> list[int]:
        async with entered(view()) as one, entered(view()) as other:
            return [await joined(inside, os.getpid) for inside in (one, other)]

    one, other = run_trio_as(user, main)
    assert one > 1
    assert other > 1
    assert one != other


def signal_the_first() -> list[int]:
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGUSR1):
        os.kill(1, number)
    return others_inside()


@each_user
def test_no_signal_from_inside_ends_the_agent_but_sigterm_from_outside_does(user: str) -> None:
    async def main() -> tuple[list[int], list[int]]:
        async with entered(view()) as inside:
            seen = await joined(inside, signal_the_first), await joined(inside, others_inside)
            os.kill(inside.agent_pid, signal.SIGTERM)
            await inside.lost.wait()
            return seen

    assert run_trio_as(user, main) == ([1], [1])


def test_who_does_not_wait_for_its_child_inside_does_not_hold_up_the_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A CLI that is stopped: the kernel keeps the namespace's first process until it has waited."""
    monkeypatch.setattr(agent, "_END_SECONDS", 0.1)
    monkeypatch.setattr(userns, "_END_SECONDS", 0.2)
    monkeypatch.setattr(userns, "_KILLED_SECONDS", 0.1)

    async def main() -> bool:
        reading, writing = os.pipe()
        async with entered(view()) as inside:
            pid, _answer = start_joined(inside, lambda: leave_family(writing))
            os.close(writing)
            await trio.lowlevel.wait_readable(reading)
            os.read(reading, 1)
            os.kill(pid, signal.SIGSTOP)
            with trio.fail_after(10):
                while not is_stopped(pid):  # noqa: ASYNC110 - the kernel announces it to nobody here
                    await trio.sleep(0.001)
        is_left = str(inside.agent_pid) in os.listdir("/proc")
        os.kill(pid, signal.SIGCONT)
        return is_left and is_over(reading)

    assert run_trio_as("plain", main)


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def test_the_agent_imports_little() -> None:
    """It stays in memory with all that it imports, as long as the session lasts."""
    program = (
        "import sys, telepresence_py.isolation.agent\n"
        "needless = {'dataclasses', 'inspect', 'pathlib', 'ssl', 'subprocess', 'trio'}\n"
        "print(sorted(needless & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_agent_is_a_program_of_its_own_and_the_choice_is_reported() -> None:
    """The product's way: executed, by the first method of the table."""
    events: list[Event] = []

    async def main() -> int:
        async with enter(view(volume_paths=("/data-of-the-agent",)), events.append) as inside:
            assert isinstance(inside, Inside)
            assert "telepresence_py.isolation.agent" in command_line(inside.agent_pid)
            assert os.readlink(f"/proc/{inside.agent_pid}/ns/net") != os.readlink("/proc/self/ns/net")
            return inside.agent_pid

    agent_pid = trio.run(main)
    assert not os.path.exists(f"/proc/{agent_pid}")
    assert [event.name for event in events] == ["isolated"]
