"""What a child left behind in its pid namespace ends; nobody else does."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from telepresence_py.process.child import ChildSpec, Exited, start_child
from telepresence_py.process.sweep import start_sweep
from tests.fakes.session import make_namespaces
from tests.fakes.waiting import wait_until

STUBBORN = (
    "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); os.write(1, b'1');time.sleep(60)"
)


@pytest.fixture
def namespaces():
    made = make_namespaces("")
    yield made
    for descriptor in made.values():
        os.close(descriptor)


def leave_behind(namespaces, *command: str) -> None:
    """Run a child that starts the command and ends; returns when the command has said something."""
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    words = ("bash", "-c", f'setsid "$@" >&{writing} &', "bash", *command)
    child = start_child(ChildSpec(words, dict(os.environ), "/", namespaces))
    os.close(writing)
    wait_until(lambda: isinstance(child.poll(), Exited), "the child ended")
    assert os.read(reading, 100)
    os.close(reading)


def lives(namespaces) -> bool:
    """Whether somebody but the first process is in the pid namespace."""
    inside = os.fstat(namespaces["pid"]).st_ino
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            found.append(os.stat(f"/proc/{pid}/ns/pid").st_ino == inside)
        except OSError:
            continue
    return sum(found) > 1


def swept(namespaces, grace_seconds: float = 20) -> bool:
    sweep = start_sweep(namespaces, grace_seconds)
    wait_until(sweep.poll, "the sweep is done")
    return not lives(namespaces)


def test_nobody_left_is_done_at_once(namespaces):
    assert swept(namespaces)


def test_who_is_left_is_asked_to_end(namespaces):
    leave_behind(namespaces, "sh", "-c", "echo 1; exec sleep 60")
    assert lives(namespaces)
    assert swept(namespaces)


def test_who_does_not_want_to_is_killed(namespaces):
    leave_behind(namespaces, sys.executable, "-c", STUBBORN)
    assert lives(namespaces)
    assert swept(namespaces, grace_seconds=0.1)


def test_who_stands_outside_is_spared(namespaces):
    with subprocess.Popen(["sleep", "60"]) as outside:
        assert swept(namespaces)
        assert outside.poll() is None
        outside.kill()


def test_our_own_namespace_is_never_swept():
    """Even if it is given for the child's: it would be every process of the user's."""
    own = {"pid": os.open("/proc/self/ns/pid", os.O_RDONLY)}
    with subprocess.Popen(["sleep", "60"]) as neighbour:
        sweep = start_sweep(own, 0.1)
        wait_until(sweep.poll, "the sweep is done")
        assert neighbour.poll() is None
        neighbour.kill()
    os.close(own["pid"])


def test_without_a_pid_namespace_there_is_nothing_to_do():
    assert start_sweep({}).poll()


def test_a_sweep_can_be_given_up(namespaces):
    leave_behind(namespaces, sys.executable, "-c", STUBBORN)
    sweep = start_sweep(namespaces, 20)
    sweep.close()
    assert sweep.poll()
    assert lives(namespaces)
