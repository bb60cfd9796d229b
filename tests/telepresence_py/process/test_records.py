"""The runtime directory is this user's alone; records of dead processes go."""

from __future__ import annotations

import os
import subprocess

import pytest

from telepresence_py.model.errors import PreconditionFailed
from telepresence_py.model.records import SessionRecord
from telepresence_py.process.records import live_sessions, process_start, runtime_directory, write_record


def record(session: str, pid: int, started: int, since: str = "2024-01-01T00:00:00Z") -> SessionRecord:
    return SessionRecord(session, "deployment/orders", "shop", "dev", since, pid, started, ("python", "x.py"))


def start_of(pid: int) -> int:
    started = process_start(pid)
    assert started is not None
    return started


def test_the_directory_is_made_for_this_user_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert runtime_directory() == tmp_path / "telepresence-py"
    assert runtime_directory().stat().st_mode & 0o777 == 0o700


def test_a_directory_that_others_may_enter_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "telepresence-py").mkdir(mode=0o755)
    with pytest.raises(PreconditionFailed, match="0700"):
        runtime_directory()


def test_a_link_in_its_place_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "telepresence-py").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PreconditionFailed):
        runtime_directory()


def test_without_the_variable_it_is_below_tmp(monkeypatch):
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    assert str(runtime_directory()) == f"/tmp/telepresence-py-{os.geteuid()}"


def test_sessions_that_live_are_listed_oldest_first(tmp_path):
    us = start_of(os.getpid())
    write_record(tmp_path, record("b", os.getpid(), us, "2024-01-02T00:00:00Z"))
    write_record(tmp_path, record("a", os.getpid(), us, "2024-01-01T00:00:00Z"))
    assert [one.session for one in live_sessions(tmp_path)] == ["a", "b"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "b.json"]


def test_a_record_of_a_process_that_ended_is_removed(tmp_path):
    process = subprocess.Popen(["sleep", "600"])
    path = write_record(tmp_path, record("a", process.pid, start_of(process.pid)))
    process.kill()
    process.wait()
    assert live_sessions(tmp_path) == []
    assert not path.exists()


def test_a_number_that_another_process_got_since_is_not_taken_for_the_session(tmp_path):
    write_record(tmp_path, record("a", os.getpid(), start_of(os.getpid()) - 1))
    assert live_sessions(tmp_path) == []


def test_a_zombie_does_not_live():
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert process_start(process.pid) is None
    process.wait()


def test_a_record_of_another_version_is_left_alone(tmp_path):
    (tmp_path / "x.json").write_text('{"session": "x", "unheard-of": 1}')
    assert live_sessions(tmp_path) == []
    assert (tmp_path / "x.json").exists()
