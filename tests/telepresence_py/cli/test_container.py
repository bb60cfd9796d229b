"""The command line of podman: what stands on it, and what must not."""

from __future__ import annotations

import os

import pytest

from telepresence_py.cli.container import in_container, untold
from telepresence_py.model.door import ContainerBinds
from telepresence_py.process.child import ChildSpec

BY_DOCKER = ContainerBinds(0, (("/run/c,1/data", "/data", True),), "helper", "unix:///run/docker.sock")
BINDS = ContainerBinds(77, (("/run/c/etc/hosts", "/etc/hosts", True), ("/run/c/data", "/data", False)))


def started(environment, command=("serve", "--fast"), binds=BINDS):
    return in_container(ChildSpec(command, environment, "/here", {"pid": 5}), "localhost/app:1", binds)


def test_the_image_its_command_and_the_binds_come_in_this_order():
    spec = started({})
    assert spec.command[:2] == ("podman", "run")
    assert spec.command[-3:] == ("localhost/app:1", "serve", "--fast")
    assert "--volume=/run/c/etc/hosts:/etc/hosts:ro" in spec.command
    assert "--volume=/run/c/data:/data" in spec.command
    assert "--pid=ns:/proc/77/ns/pid" in spec.command
    assert spec.outside_pids


def test_by_docker_it_shares_what_the_helper_has_and_no_configuration_adds_to_it():
    spec = started({"TOKEN": "s3cret", "DOCKER_HOST": "tcp://of-the-pod"}, binds=BY_DOCKER)
    assert spec.command[:5] == ("docker", "--config", "/nonexistent", "--host", "unix:///run/docker.sock")
    assert {"--network=container:helper", "--pid=container:helper", "--pull=never"} <= set(spec.command)
    assert '--mount=type=bind,"source=/run/c,1/data",target=/data,readonly' in spec.command
    assert "--env=TOKEN" in spec.command
    assert spec.environment["TOKEN"] == "s3cret"
    assert spec.environment.get("DOCKER_HOST") == os.environ.get("DOCKER_HOST")


def test_without_a_command_the_image_stands_last():
    assert started({}, ()).command[-1] == "localhost/app:1"


def test_values_are_in_podmans_environment_and_not_on_its_command_line():
    spec = started({"TOKEN": "s3cret\nof two lines", "EMPTY": ""})
    assert {"--env=TOKEN", "--env=EMPTY"} <= set(spec.command)
    assert not [word for word in spec.command if "s3cret" in word]
    assert (spec.environment["TOKEN"], spec.environment["EMPTY"]) == ("s3cret\nof two lines", "")


@pytest.mark.parametrize("name", ["PATH", "XDG_RUNTIME_DIR", "CONTAINERS_CONF", "LD_PRELOAD", "GOMEMLIMIT"])
def test_what_would_change_podman_itself_comes_by_a_file(monkeypatch, name):
    monkeypatch.setenv(name, "the laptop's")
    spec = started({name: "the pod's"})
    assert spec.environment[name] == "the laptop's"
    (path,) = (word.partition("=")[2] for word in spec.command if word.startswith("--env-file="))
    descriptor = int(path.rpartition("/")[2])
    try:
        assert os.get_inheritable(descriptor)
        with open(path, encoding="utf-8") as file:
            assert file.read() == f"{name}=the pod's\n"
    finally:
        os.close(descriptor)


def test_only_variables_of_podmans_own_that_have_several_lines_are_left_out():
    assert untold({"PATH": "a\nb", "KEY": "a\nb", "HOME": "/root"}) == ["PATH"]
