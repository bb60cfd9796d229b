"""The tools' command lines. That they do what they say is tried with buildah in integration/."""

from __future__ import annotations

from pathlib import Path

import pytest

from telepresence_py.cli.builder import Builder, PushSettings, digest_in, working_builder
from telepresence_py.model.errors import PreconditionFailed
from tests.fakes.tools import fake_tools

HOW = PushSettings(Path("/d"))
PLAIN = PushSettings(Path("/d"), tls=False)
REFERENCE = "r.example/i:1"
IMAGES = {"linux/a": "l/i:1-a", "linux/b": "l/i:1-b"}


@pytest.fixture
def tools(tmp_path, monkeypatch):
    return fake_tools(tmp_path, monkeypatch)


def lines(commands: list[list[str]]) -> list[str]:
    return [" ".join(command) for command in commands]


def test_docker_pushes_what_it_has_tagged():
    assert lines(Builder("docker").push("l/i:1", REFERENCE, HOW)) == [
        "docker tag l/i:1 r.example/i:1",
        "docker push r.example/i:1",
    ]


@pytest.mark.parametrize("name", ["podman", "buildah"])
def test_the_others_push_straight_to_the_reference(name):
    assert lines(Builder(name).push("l/i:1", REFERENCE, HOW)) == [
        f"{name} push --digestfile /d l/i:1 docker://r.example/i:1"
    ]
    assert "--tls-verify=false" in Builder(name).push("l/i:1", REFERENCE, PLAIN)[0]


def test_a_list_is_made_of_images_of_the_tools_storage():
    assert lines(Builder("podman").push_list(IMAGES, REFERENCE, PLAIN)) == [
        "podman manifest create l/i:1-a-and-others containers-storage:l/i:1-a containers-storage:l/i:1-b",
        "podman manifest push --all --format oci --digestfile /d --tls-verify=false l/i:1-a-and-others "
        "docker://r.example/i:1",
    ]


def test_docker_makes_a_list_of_what_it_has_pushed():
    assert lines(Builder("docker").push_list(IMAGES, REFERENCE, HOW)) == [
        "docker tag l/i:1-a r.example/i:1-linux-a",
        "docker push r.example/i:1-linux-a",
        "docker tag l/i:1-b r.example/i:1-linux-b",
        "docker push r.example/i:1-linux-b",
        "docker manifest create --amend r.example/i:1 r.example/i:1-linux-a r.example/i:1-linux-b",
        "docker manifest push --purge r.example/i:1",
    ]
    assert Builder("docker").remove_list(IMAGES) is None


@pytest.mark.parametrize("name", ["docker", "podman", "buildah"])
def test_every_tool_saves_an_archive(name, tmp_path):
    words = Builder(name).save("r/i:1", tmp_path / "image.tar")
    assert words[0] == name
    assert any(str(tmp_path / "image.tar") in word for word in words)
    assert any("r/i:1" in word for word in words)


def test_without_a_tool_it_is_said_which_ones_would_do(tools):
    with pytest.raises(PreconditionFailed, match=r"docker, podman or buildah is needed .* none is installed"):
        working_builder()
    tools.add("docker")
    tools.answer("version", code=1)
    with pytest.raises(PreconditionFailed, match="docker does not answer"):
        working_builder()


def test_the_digest_is_the_last_one_told():
    first, last = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    assert digest_in(f"{first}: pushed\n1: digest: {last} size: 1\n") == last
    assert digest_in("nothing") is None
