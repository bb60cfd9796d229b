"""What docker of the laptop is asked, by a script that stands for it, and which daemons will not do."""

from __future__ import annotations

import os
import socket

import pytest

from telepresence_py.process import docker
from telepresence_py.process.docker import Daemon, DockerFailed, ask_docker, find_daemon


@pytest.fixture
def client(tmp_path, monkeypatch):
    """`client(BODY)` puts a shell script of the name `docker` on the PATH before all others."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("DOCKER_HOST", raising=False)

    def put(body):
        script = tmp_path / "docker"
        script.write_text(f"#!/bin/sh\n{body}\n")
        script.chmod(0o755)
        return str(script)

    return put


@pytest.fixture
def listening(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "docker.sock"))
        listener.listen()
        yield tmp_path / "docker.sock"


OWN_KERNEL = os.uname().release


def info(kernel=OWN_KERNEL, system="Debian GNU/Linux 12"):
    return f"printf '{kernel}\\t{system}\\n'"


@pytest.mark.parametrize("address", ["tcp://192.0.2.1:2375", "ssh://me@there"])
def test_a_daemon_that_may_be_on_another_machine_is_not_asked(client, monkeypatch, address):
    client("echo asked >&2; exit 1")
    monkeypatch.setenv("DOCKER_HOST", address)
    with pytest.raises(DockerFailed, match="may be another machine"):
        find_daemon()


def test_without_the_variable_dockers_context_says_where_it_is(client, tmp_path):
    client(f'[ "$1 $2" = "context inspect" ] && echo unix://{tmp_path}/gone.sock')
    with pytest.raises(DockerFailed, match=r"no daemon of docker's answers at .*/gone\.sock"):
        find_daemon()
    client('echo "unknown command" >&2; exit 1')
    with pytest.raises(DockerFailed, match="`docker context inspect` says: unknown command"):
        find_daemon()


def test_a_daemon_of_another_user_has_no_right_to_give(client, listening, monkeypatch):
    client(info())
    monkeypatch.setenv("DOCKER_HOST", f"unix://{listening}")
    monkeypatch.setattr(docker, "_ROOT", os.getuid() + 1)
    with pytest.raises(DockerFailed, match="rootless docker"):
        find_daemon()


@pytest.mark.parametrize(("kernel", "system"), [("5.15.0-linuxkit", "Docker Desktop"), ("6.1", "Debian")])
def test_a_daemon_in_a_virtual_machine_is_told_by_its_kernel(client, listening, monkeypatch, kernel, system):
    client(info(kernel, system))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{listening}")
    monkeypatch.setattr(docker, "_ROOT", os.getuid())
    with pytest.raises(DockerFailed, match=f"virtual machine .*{system}"):
        find_daemon()


def test_roots_daemon_of_this_machine_is_taken(client, listening, monkeypatch):
    path = client(info())
    monkeypatch.setenv("DOCKER_HOST", f"unix://{listening}")
    monkeypatch.setattr(docker, "_ROOT", os.getuid())
    assert find_daemon() == Daemon(path, f"unix://{listening}")


def test_an_answer_is_the_exit_code_and_the_last_line_of_what_was_said(client):
    daemon = Daemon(client('echo one >&2; echo "Error response from daemon: $4" >&2; exit 3'), "unix:///x")
    assert ask_docker(daemon, ["image", "inspect"]) == (3, "inspect")
    daemon = Daemon(client("cat"), "unix:///x")
    assert ask_docker(daemon, ["load"], b"given\n") == (0, "given")
