"""What podman of the laptop is asked, by a script that stands for it."""

from __future__ import annotations

import os

import pytest

from telepresence_py.process.podman import PodmanFailed, ask_podman, open_user_namespace


@pytest.fixture
def podman(tmp_path, monkeypatch):
    """`podman(BODY)` puts a shell script of that name on the PATH before all others."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def put(body):
        script = tmp_path / "podman"
        script.write_text(f"#!/bin/sh\n{body}\n")
        script.chmod(0o755)

    return put


def test_the_namespace_is_that_of_the_process_that_podman_started(podman):
    podman('shift; exec "$@"')
    descriptor = open_user_namespace()
    try:
        assert os.fstat(descriptor).st_ino == os.stat("/proc/self/ns/user").st_ino
        assert not os.get_inheritable(descriptor)
    finally:
        os.close(descriptor)


def test_what_podman_says_is_why_there_is_no_namespace(podman):
    podman('echo "a warning" >&2; echo "Error: cannot clone: Operation not permitted" >&2; exit 125')
    with pytest.raises(PodmanFailed, match="says: cannot clone: Operation not permitted"):
        open_user_namespace()


def test_an_answer_is_the_exit_code_and_the_last_line_of_what_was_said(podman):
    podman('echo out; echo "one" >&2; echo "Error: $2" >&2; exit 3')
    assert ask_podman(["image", "exists"]) == (3, "exists")
    podman("exit 0")
    assert ask_podman(["image", "exists"]) == (0, "nothing")
