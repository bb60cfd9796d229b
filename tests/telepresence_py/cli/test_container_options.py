"""`--run-in` and `--build`: what is refused before anything is touched."""

from __future__ import annotations

import os

import pytest

from telepresence_py.cli import container_options
from telepresence_py.cli.container_options import container_choice
from telepresence_py.model.errors import BadUsage, NamedObjectMissing, PreconditionFailed
from telepresence_py.process import docker
from telepresence_py.process.docker import Daemon


@pytest.fixture
def podman(tmp_path, monkeypatch):
    """`podman(BODY)` puts a shell script of that name on the PATH, which has nothing else."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    def put(body, name="podman"):
        script = directory / name
        script.write_text(f"#!/bin/sh\n{body}\n")
        script.chmod(0o755)

    return put


def test_without_them_the_command_is_no_container():
    assert container_choice(None, None, "userns") is None


def test_they_exclude_each_other_and_other_methods():
    with pytest.raises(BadUsage, match="leave one of them out"):
        container_choice("app", ".", None)
    with pytest.raises(BadUsage, match="podman or docker alone, not by proxy"):
        container_choice("app", None, "proxy")
    with pytest.raises(BadUsage, match="--run-in and --file exclude each other"):
        container_choice("app", None, None, ["--file"])
    with pytest.raises(BadUsage, match="does not name an image"):
        container_choice("--privileged", None, None)


def test_an_image_that_is_there_is_taken_with_the_method_named_or_not(podman):
    podman("exit 0")
    assert container_choice("app:1", None, None) == "app:1"
    assert container_choice("app:1", None, "podman") == "app:1"


def test_an_unknown_image_is_told_with_the_ways_to_have_it(podman):
    podman('[ "$1" = image ] && exit 1; exit 0')
    with pytest.raises(NamedObjectMissing, match=r"`podman pull app:1`.*--build DIR"):
        container_choice("app:1", None, None)


def test_a_podman_that_fails_is_quoted(podman):
    podman('echo "Error: the store is locked" >&2; exit 125')
    with pytest.raises(PreconditionFailed, match="says: the store is locked"):
        container_choice("app:1", None, None)


def test_without_podman_docker_is_named_if_it_is_there(podman):
    with pytest.raises(PreconditionFailed, match=r"needs podman, which is not installed here$"):
        container_choice("app:1", None, None)
    podman("exit 0", "docker")
    with pytest.raises(PreconditionFailed, match="take --method docker"):
        container_choice("app:1", None, None)


def test_by_docker_its_daemon_is_asked_for_the_image(podman, monkeypatch):
    daemon = Daemon("/usr/bin/docker", "unix:///run/docker.sock")
    asked = []

    def ask(daemon, words):
        asked.append((daemon, words))
        return (0 if words[-1] == "app:1" else 1), ""

    monkeypatch.setattr(docker, "find_daemon", lambda: daemon)
    monkeypatch.setattr(docker, "ask_docker", ask)
    assert container_choice("app:1", None, "docker") == "app:1"
    assert asked == [(daemon, ("image", "inspect", "app:1"))]
    with pytest.raises(NamedObjectMissing, match=r"`docker pull app:2`"):
        container_choice("app:2", None, "docker")


def test_a_daemon_that_will_not_do_is_told_before_anything_is_built(podman, monkeypatch):
    def find_daemon():
        raise docker.DockerFailed("it is elsewhere")

    monkeypatch.setattr(docker, "find_daemon", find_daemon)
    with pytest.raises(PreconditionFailed, match="--method docker cannot work: it is elsewhere"):
        container_choice("app:1", None, "docker")


def test_root_is_told_to_be_a_plain_user(podman, monkeypatch):
    podman("exit 0")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(PreconditionFailed, match="rootless"):
        container_choice("app:1", None, None)


def test_a_directory_that_is_not_there_names_the_nearest_and_one_without_a_file_says_so(tmp_path):
    (tmp_path / "orders").mkdir()
    with pytest.raises(NamedObjectMissing, match=r"did you mean .*/orders?"):
        container_choice(None, str(tmp_path / "ordesr"), None)
    with pytest.raises(NamedObjectMissing, match="neither a Containerfile nor a Dockerfile"):
        container_choice(None, str(tmp_path / "orders"), None)


def test_a_build_has_the_same_name_each_time_and_one_that_fails_is_told(tmp_path, podman, capfd):
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    podman('[ "$1" = build ] && echo built "$@"; exit 0')
    image = container_choice(None, str(tmp_path), None)
    assert image == container_choice(None, f"{tmp_path}/.", None)
    out, err = capfd.readouterr()
    assert out == ""
    assert f"built build --tag {image} --file {tmp_path}/Dockerfile {tmp_path}" in err
    podman('[ "$1" = build ] && exit 3; exit 0')
    with pytest.raises(PreconditionFailed, match="ended with 3"):
        container_choice(None, str(tmp_path), None)


def test_a_dry_run_asks_podman_and_has_it_do_nothing(tmp_path, podman):
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    said = tmp_path / "said"
    podman(f'echo "$@" >>{said}; exit 0')
    assert container_choice("app:1", None, None, touch=False) == "app:1"
    dry = container_choice(None, str(tmp_path), None, touch=False)
    assert said.read_text() == "image exists app:1\n"
    assert container_choice(None, str(tmp_path), None) == dry
    with pytest.raises(NamedObjectMissing):
        container_choice(None, str(tmp_path / "nowhere"), None, touch=False)


def test_leftovers_are_removed_only_where_they_are_ours_and_not_of_this_moment(podman, tmp_path):
    said = tmp_path / "said"
    podman(f'[ "$1" = container ] && echo "$@" >{said}; exit 0')
    container_choice("app:1", None, None)
    label = f"label={container_options.LABEL}"
    assert said.read_text() == f"container prune --force --filter {label} --filter until=2m\n"
