"""Becoming the command: in namespaces, with the caller's view of signals and directory."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from telepresence_py.isolation.namespaces import enter_user_namespace
from telepresence_py.model.errors import (
    CommandNotExecutable,
    CommandNotFound,
    PreconditionFailed,
    SessionLost,
)
from telepresence_py.process import child as child_module
from telepresence_py.process import kernel
from telepresence_py.process.child import Child, ChildSpec, Exited, Stopped, start_child
from tests.fakes.waiting import wait_until

PATH = {"PATH": os.defpath}


def start(
    *command: str, environment: dict[str, str] | None = None, directory: str = "/", **namespaces: int
) -> Child:
    return start_child(ChildSpec(command, environment or PATH, directory, namespaces))


def end_of(child: Child) -> int:
    news: list[Exited | Stopped] = []

    def ended() -> bool:
        news.extend(filter(None, [child.poll()]))
        return bool(news) and isinstance(news[-1], Exited)

    wait_until(ended, "the child ends")
    assert isinstance(news[-1], Exited)
    return news[-1].status


def test_the_child_is_our_own_in_our_process_group():
    child = start("sleep", "600")
    try:
        assert child.group() == os.getpgrp()
        assert not child.is_stopped()
        assert child.poll() is None
    finally:
        child.send(signal.SIGKILL)
        assert end_of(child) == -signal.SIGKILL


def test_an_exit_code_is_told_as_it_is():
    assert end_of(start("sh", "-c", "exit 9")) == 9


def test_a_stop_is_news_and_the_end_afterwards_too():
    child = start("sleep", "600")
    child.send(signal.SIGSTOP)
    wait_until(child.has_news, "the child stops")
    assert child.is_stopped()
    assert child.poll() == Stopped(signal.SIGSTOP)
    assert not child.has_news()
    child.send(signal.SIGKILL)
    assert end_of(child) == -signal.SIGKILL


@pytest.fixture
def ended_namespaces() -> Iterator[dict[str, int]]:
    """Of users and processes, in which the first process was and is no more."""
    ready, told = os.pipe()
    holder = os.fork()
    if holder == 0:
        enter_user_namespace()
        kernel.unshare(kernel.CLONE_NEWPID)
        if os.fork() == 0:
            signal.pause()
        os.write(told, b"!")
        os.wait()
        signal.pause()
    os.read(ready, 1)
    opened = {
        kind: os.open(f"/proc/{holder}/ns/{name}", os.O_RDONLY)
        for kind, name in (("user", "user"), ("pid", "pid_for_children"))
    }
    (first,) = Path(f"/proc/{holder}/task/{holder}/children").read_text().split()
    os.kill(int(first), signal.SIGKILL)
    wait_until(lambda: not os.path.exists(f"/proc/{first}"), "the first process is gone")
    yield opened
    os.kill(holder, signal.SIGKILL)
    os.waitpid(holder, 0)
    for descriptor in (*opened.values(), ready, told):
        os.close(descriptor)


def test_where_the_namespaces_have_ended_the_session_is_lost(ended_namespaces: dict[str, int]) -> None:
    with pytest.raises(SessionLost, match="its namespaces have ended"):
        start("true", **ended_namespaces)


@pytest.mark.parametrize("word", ["no-such-command-at-all", "/no/such/path", "/etc/passwd/x"])
def test_a_missing_command_is_127(word):
    with pytest.raises(CommandNotFound, match="not found"):
        start(word)


def test_a_file_without_permission_or_a_directory_is_126(tmp_path):
    (tmp_path / "text").write_text("x")
    for word in (tmp_path / "text", tmp_path):
        with pytest.raises(CommandNotExecutable, match="cannot be executed"):
            start(str(word))


def test_an_argument_that_no_program_can_get_is_126():
    with pytest.raises(CommandNotExecutable, match="null"):
        start("echo", "a\0b")


def test_a_script_without_a_first_line_is_the_shells(tmp_path):
    script = tmp_path / "script"
    script.write_text('exit "$1"\n')
    script.chmod(0o755)
    assert end_of(start(str(script), "6")) == 6


def test_the_search_goes_on_after_a_file_that_cannot_be_executed(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tool").write_text("#!/bin/sh\nexit 8\n")
    (tmp_path / "second" / "tool").chmod(0o755)
    assert end_of(start("tool", environment={"PATH": f"/nowhere:{tmp_path}/first:{tmp_path}/second"})) == 8


def test_a_directory_that_is_gone_is_replaced_by_the_root_and_told(tmp_path):
    child = start("sh", "-c", '[ "$(pwd)" = / ]', directory=str(tmp_path / "gone"))
    assert child.directory == "/"
    assert end_of(child) == 0


def test_only_the_given_environment_is_there():
    script = '[ "$A" = "1" ] && [ -z "$HOME" ]'
    assert end_of(start("sh", "-c", script, environment={**PATH, "A": "1"})) == 0


def test_bytes_that_are_no_utf8_reach_the_child_unchanged():
    script = '[ "$(printf %s "$A" | od -An -tx1)" = " ff 0a e9" ]'
    assert end_of(start("sh", "-c", script, environment={**PATH, "A": "\udcff\n\udce9"})) == 0


def test_a_namespace_that_cannot_be_joined_is_told():
    with open(os.devnull) as nothing, pytest.raises(PreconditionFailed, match="namespaces: setns"):
        start("true", net=nothing.fileno())


@pytest.mark.parametrize(("module", "step"), [(kernel, "clone_sibling"), (child_module, "_join_and_clone")])
def test_what_is_sent_to_the_group_before_there_is_a_child_is_the_childs_too(monkeypatch, module, step):
    real = getattr(module, step)

    def interrupted(*arguments):
        os.kill(os.getpid(), signal.SIGINT)  # of the process between, which is in the group
        return real(*arguments)

    monkeypatch.setattr(module, step, interrupted)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        child = start_child(ChildSpec(("sleep", "600"), PATH, "/", {}, frozenset(mask)))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    assert end_of(child) == -signal.SIGINT


def test_a_signal_that_waits_when_the_child_is_started_is_the_childs_too():
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        # to this thread: the process of the tests may have others, which do not block it
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        child = start_child(ChildSpec(("sleep", "600"), PATH, "/", {}, frozenset(mask)))
        assert signal.sigwait({signal.SIGINT}) == signal.SIGINT
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    assert end_of(child) == -signal.SIGINT
