"""Building and saving, against FAKE container tools that write down how they were called."""

from __future__ import annotations

import io

import pytest

from telepresence_py.cli import sidecar_image
from telepresence_py.cli.render import Screen, Wanted
from telepresence_py.cli.sidecar_image import (
    build_image,
    image_here,
    images_here,
    name_for,
    save_image,
    this_platform,
)
from telepresence_py.model.errors import PreconditionFailed
from telepresence_py.model.image import DEFAULT_IMAGE
from tests.fakes.tools import fake_tools

OTHER_PLATFORM = "linux/s390x" if this_platform() != "linux/s390x" else "linux/amd64"


@pytest.fixture
def tools(tmp_path, monkeypatch):
    return fake_tools(tmp_path, monkeypatch)


@pytest.fixture
def screen():
    return Screen(io.StringIO(), Wanted())


def test_the_first_tool_that_answers_builds(tools, screen):
    tools.add("docker", "buildah")
    tools.answer("docker", "version", code=1)  # a client whose daemon does not run
    build_image(screen, DEFAULT_IMAGE, this_platform())
    (call,) = tools.calls("--platform")
    assert call["words"][:3] == ["buildah", "bud", "--layers"]
    assert call["words"][call["words"].index("--platform") + 1] == this_platform()
    assert call["words"][call["words"].index("-t") + 1] == DEFAULT_IMAGE


def test_the_context_holds_what_is_installed_and_no_caches(tools, screen):
    tools.add("podman")
    build_image(screen, "r/i:1", this_platform())
    (call,) = tools.calls("--platform")
    assert "sidecar/telepresence_sidecar/__main__.py" in call["files"]
    assert "sidecar/telepresence_sidecar/contract/__init__.py" in call["files"]
    assert "Dockerfile.sidecar" in call["files"]
    assert not [name for name in call["files"] if "__pycache__" in name]


def test_pips_settings_and_files_are_mounted(tools, screen, monkeypatch, tmp_path):
    certificate = tmp_path / "ca.pem"
    certificate.write_text("certificate")
    monkeypatch.setenv("PIP_CERT", str(certificate))
    tools.add("podman")
    build_image(screen, DEFAULT_IMAGE, this_platform())
    (call,) = tools.calls("--platform")
    assert f"{certificate}:{certificate}:ro" in call["words"]
    assert any(word.endswith("/pip.conf:/etc/pip.conf:ro") for word in call["words"])
    assert call["texts"]["pip/pip.conf"] == f"[global]\ncert = {certificate}\n"


def test_docker_sees_pips_settings_in_the_context(tools, screen, monkeypatch, tmp_path):
    certificate = tmp_path / "ca.pem"
    certificate.write_text("certificate")
    monkeypatch.setenv("PIP_CERT", str(certificate))
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    tools.add("docker")
    build_image(screen, DEFAULT_IMAGE, this_platform())
    (call,) = tools.calls("--platform")
    assert "-v" not in call["words"]
    assert "cert = /run/pip-1" in call["texts"]["pip/pip.conf"]
    assert (
        "RUN --mount=type=bind,source=pip/pip.conf,target=/etc/pip.conf"
        in call["texts"]["Dockerfile.sidecar"]
    )
    assert f"cannot see the directory {tmp_path}" in screen._stream.getvalue()


def test_without_a_tool_it_is_said_which_ones_would_do(tools, screen):
    with pytest.raises(PreconditionFailed, match=r"docker, podman or buildah is needed .* none is installed"):
        build_image(screen, DEFAULT_IMAGE, this_platform())


def test_a_failed_build_shows_the_end_of_what_the_tool_said(tools, screen):
    tools.add("buildah")
    tools.answer("bud", out="step by step\n", code=3)
    with pytest.raises(PreconditionFailed, match=r"code 3\n  \| step by step"):
        build_image(screen, DEFAULT_IMAGE, this_platform())


def test_no_image_is_begun_whose_programs_cannot_run_here(tools, screen, monkeypatch, tmp_path):
    monkeypatch.setattr(sidecar_image, "_BINFMT", tmp_path)
    tools.add("podman")
    for begin in (
        lambda: build_image(screen, "r/i:1", OTHER_PLATFORM),
        lambda: images_here(screen, [this_platform(), OTHER_PLATFORM]),
    ):
        with pytest.raises(PreconditionFailed, match="qemu-user-static"):
            begin()
    assert tools.calls("build") == []
    (tmp_path / ("qemu-s390x" if "s390x" in OTHER_PLATFORM else "qemu-x86_64")).touch()
    images_here(screen, [this_platform(), OTHER_PLATFORM])
    assert [call["words"][-2] for call in tools.calls("build")] == [
        name_for(this_platform()),
        name_for(OTHER_PLATFORM),
    ]


def test_dockers_daemon_knows_itself_what_runs_there(tools, screen, monkeypatch, tmp_path):
    monkeypatch.setattr(sidecar_image, "_BINFMT", tmp_path)
    tools.add("docker")
    build_image(screen, "r/i:1", OTHER_PLATFORM)
    assert tools.calls("build", OTHER_PLATFORM)


def test_the_tool_that_has_the_image_is_found_and_nothing_is_built(tools, screen):
    tools.add("docker", "podman")
    tools.answer("docker", "inspect", code=1)
    tools.answer("podman", "inspect", out=f"{this_platform()}\n")
    assert image_here(screen, DEFAULT_IMAGE, this_platform()).name == "podman"
    assert tools.calls("build") == []


def test_this_versions_image_is_built_when_it_is_not_here_for_the_platform(tools, screen):
    tools.add("podman")
    tools.answer("inspect", out="linux/other\n")
    image_here(screen, DEFAULT_IMAGE, this_platform())
    (call,) = tools.calls("build")
    assert call["words"][call["words"].index("-t") + 1] == DEFAULT_IMAGE


def test_an_image_of_somebody_elses_name_is_never_built_in_passing(tools, screen):
    tools.add("podman")
    tools.answer("inspect", "r/i:1", out="linux/other\n")
    tools.answer("inspect", code=125)
    with pytest.raises(PreconditionFailed, match="is for linux/other"):
        image_here(screen, "r/i:1", this_platform())
    with pytest.raises(PreconditionFailed, match=r"no image r/j:1 here.*sidecar build --image r/j:1"):
        image_here(screen, "r/j:1", this_platform())
    assert tools.calls("build") == []


def test_a_saved_image_is_there_whole_or_not_at_all(tools, screen, tmp_path):
    tools.add("podman")
    tools.answer("inspect", out=f"{this_platform()}\n")
    file = tmp_path / "sidecar.tar"
    (tmp_path / "sidecar.tar.partial").write_text("left by one that was killed")
    save_image(screen, DEFAULT_IMAGE, this_platform(), file)
    assert file.read_bytes() == (tools.directory / "image.tar").read_bytes()
    file.unlink()
    tools.answer("save", code=1)
    with pytest.raises(PreconditionFailed, match="saving"):
        save_image(screen, DEFAULT_IMAGE, this_platform(), file)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin"]


@pytest.mark.parametrize("name", ["", "nowhere/sidecar.tar", "/dev/null"])
def test_a_file_that_cannot_be_written_is_told_before_anything_is_built(tools, screen, tmp_path, name):
    tools.add("podman")
    with pytest.raises(PreconditionFailed, match="cannot write"):
        save_image(screen, DEFAULT_IMAGE, this_platform(), tmp_path / name)
    assert tools.calls() == []


def test_this_platform_is_named_as_images_name_it():
    assert this_platform().split("/")[0] == "linux"
    assert "x86_64" not in this_platform()
