"""Pushing, against FAKE container tools; integration/test_sidecar_image.py pushes to a real registry."""

from __future__ import annotations

import io

import pytest

from telepresence_py.cli.builder import Said
from telepresence_py.cli.render import Screen, Wanted
from telepresence_py.cli.sidecar_image import name_for, this_platform
from telepresence_py.cli.sidecar_push import push_image, refusal
from telepresence_py.model.errors import PreconditionFailed
from telepresence_py.model.image import DEFAULT_IMAGE
from tests.fakes.tools import fake_tools

REFERENCE = "registry.example:5000/team/telepresence-py-sidecar:1"
DIGEST = "sha256:" + "d" * 64
FOREIGN = ("linux/386", "linux/arm")  # of which it is not asked whether they can be built


@pytest.fixture
def tools(tmp_path, monkeypatch):
    tools = fake_tools(tmp_path, monkeypatch)
    for platform in (this_platform(), *FOREIGN):
        tools.answer("inspect", name_for(platform), out=f"{platform}\n")
    return tools


@pytest.fixture
def screen():
    return Screen(io.StringIO(), Wanted())


def test_an_image_that_is_here_is_pushed_and_not_built(tools, screen):
    tools.add("podman")
    tools.answer("inspect", out=f"{this_platform()}\n")
    assert push_image(screen, REFERENCE, [this_platform()], insecure=False) == DIGEST
    assert tools.calls("build") == []
    assert tools.calls("push", DEFAULT_IMAGE, f"docker://{REFERENCE}")


def test_an_image_that_is_missing_is_built_first(tools, screen):
    tools.add("podman")
    tools.answer("inspect", code=1)
    push_image(screen, REFERENCE, [this_platform()], insecure=False)
    assert [call["words"][1] for call in tools.calls("podman")][-2:] == ["build", "push"]


def test_dockers_digest_is_read_from_what_it_says(tools, screen):
    tools.add("docker")
    tools.answer("inspect", out=f"{this_platform()}\n")
    tools.answer("push", out=f"1f: Pushed\n1: digest: sha256:{'e' * 64} size: 9\n")
    assert push_image(screen, REFERENCE, [this_platform()], insecure=False) == "sha256:" + "e" * 64


def test_several_platforms_are_pushed_as_a_list_that_does_not_stay_here(tools, screen):
    tools.add("buildah")
    assert push_image(screen, REFERENCE, FOREIGN, insecure=True) == DIGEST
    verbs = [call["words"][1:3] for call in tools.calls("manifest")]
    assert verbs == [["manifest", verb] for verb in ("rm", "create", "push", "rm")]
    assert tools.calls("bud") == []


def test_a_list_does_not_stay_here_when_its_push_fails(tools, screen):
    tools.add("buildah")
    tools.answer("manifest", "push", out="Error: x\n", code=125)
    with pytest.raises(PreconditionFailed):
        push_image(screen, REFERENCE, FOREIGN, insecure=True)
    assert tools.calls("manifest")[-1]["words"][2] == "rm"


def test_docker_is_told_of_plain_http_in_its_own_file(tools, screen):
    tools.add("docker")
    tools.answer("inspect", out=f"{this_platform()}\n")
    with pytest.raises(PreconditionFailed, match=r'"insecure-registries": \["registry\.example:5000"\]'):
        push_image(screen, REFERENCE, [this_platform()], insecure=True)
    assert tools.calls("push") == []


PUSHING = f'Error: pushing image "x" to "docker://{REFERENCE}": '


@pytest.mark.parametrize(
    ("tool", "words", "cure"),
    [
        ("buildah", PUSHING + "checking whether a blob exists: unauthorized: authentication required",
         "log in by `buildah login registry.example:5000`"),
        ("docker", "denied: requested access to the resource is denied", "log in by `docker login registry"),
        ("docker", "no basic auth credentials", "log in by"),
        ("podman", PUSHING + 'Get "https://registry.example:5000/v2/": dial tcp: lookup registry.example: '
         "no such host", "no host has that name"),
        ("podman", PUSHING + "dial tcp 192.0.2.1:5000: connect: connection refused", "does not answer"),
        ("buildah", PUSHING + "http: server gave HTTP response to HTTPS client", "say --insecure if"),
        ("docker", "http: server gave HTTP response to HTTPS client", "/etc/docker/daemon.json"),
        ("podman", PUSHING + "tls: failed to verify certificate: x509: signed by unknown authority",
         "/etc/containers/certs.d/registry.example:5000/ca.crt"),
        ("docker", "name unknown: The repository with name 'team' does not exist", "make it there"),
        ("buildah", PUSHING + "something new", "buildah says: something new"),
    ],
)  # fmt: skip
def test_a_registrys_refusal_is_one_sentence_with_the_cure_and_the_tools_words(tool, words, cure):
    sentence = refusal(tool, REFERENCE, Said(125, ("Getting image source signatures", words, "")))
    assert sentence.startswith(f"pushing {REFERENCE} failed")
    assert cure in sentence
    assert "\n" not in sentence
    assert words.removeprefix(PUSHING) in sentence
    assert "docker://" not in sentence
