"""Building and loading, against FAKE container tools that write down how they were called."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import pytest

from telepresence_py.cli import sidecar_image
from telepresence_py.cli.render import Screen, Wanted
from telepresence_py.model.errors import PreconditionFailed

FAKE_TOOL = """#!/usr/bin/env python3
import json, os, sys
from pathlib import Path
words = [os.path.basename(sys.argv[0]), *sys.argv[1:]]
if words[1] == "version":
    sys.exit({version})
context = Path(words[-1])
files = sorted(str(path.relative_to(context)) for path in context.rglob("*")) if context.is_dir() else []
names = [name for name in ("Dockerfile.sidecar", "pip/pip.conf") if name in files]
texts = {{name: (context / name).read_text() for name in names}}
print("step by step")
with open(os.environ["FAKE_TOOL_CALLS"], "a") as calls:
    calls.write(json.dumps({{"words": words, "files": files, "texts": texts}}) + "\\n")
sys.exit({code})
"""


class Tools:
    """A directory that is all of PATH but for the system's, and what was called in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.calls_file = directory / "calls"

    def add(self, name: str, version: int = 0, code: int = 0) -> None:
        tool = self.directory / name
        tool.write_text(FAKE_TOOL.format(version=version, code=code))
        tool.chmod(0o755)

    def calls(self) -> list[dict]:
        return [json.loads(line) for line in self.calls_file.read_text().splitlines()]


@pytest.fixture
def tools(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    tools = Tools(tmp_path / "bin")
    tools.directory.mkdir()
    (tools.directory / "python3").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(tools.directory))
    monkeypatch.setenv("FAKE_TOOL_CALLS", str(tools.calls_file))
    return tools


@pytest.fixture
def screen():
    return Screen(io.StringIO(), Wanted())


def test_the_first_tool_that_answers_builds(tools, screen):
    tools.add("docker", version=1)  # a client whose daemon does not run
    tools.add("buildah")
    sidecar_image.build_image(screen, None, "linux/arm64")
    (call,) = tools.calls()
    assert call["words"][:3] == ["buildah", "bud", "--layers"]
    assert call["words"][call["words"].index("--platform") + 1] == "linux/arm64"
    assert call["words"][call["words"].index("-t") + 1] == sidecar_image.default_image()


def test_the_context_holds_what_is_installed_and_no_caches(tools, screen):
    tools.add("podman")
    sidecar_image.build_image(screen, "r/i:1", "linux/amd64")
    (call,) = tools.calls()
    assert "sidecar/telepresence_sidecar/__main__.py" in call["files"]
    assert "sidecar/telepresence_sidecar/contract/__init__.py" in call["files"]
    assert "Dockerfile.sidecar" in call["files"]
    assert not [name for name in call["files"] if "__pycache__" in name]


def test_pips_settings_and_files_are_mounted(tools, screen, monkeypatch, tmp_path):
    certificate = tmp_path / "ca.pem"
    certificate.write_text("certificate")
    monkeypatch.setenv("PIP_CERT", str(certificate))
    tools.add("podman")
    sidecar_image.build_image(screen, None, "linux/amd64")
    (call,) = tools.calls()
    assert f"{certificate}:{certificate}:ro" in call["words"]
    assert any(word.endswith("/pip.conf:/etc/pip.conf:ro") for word in call["words"])
    assert call["texts"]["pip/pip.conf"] == f"[global]\ncert = {certificate}\n"


def test_docker_sees_pips_settings_in_the_context(tools, screen, monkeypatch, tmp_path):
    certificate = tmp_path / "ca.pem"
    certificate.write_text("certificate")
    monkeypatch.setenv("PIP_CERT", str(certificate))
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    tools.add("docker")
    sidecar_image.build_image(screen, None, "linux/amd64")
    (call,) = tools.calls()
    assert "-v" not in call["words"]
    assert "cert = /run/pip-1" in call["texts"]["pip/pip.conf"]
    assert (
        "RUN --mount=type=bind,source=pip/pip.conf,target=/etc/pip.conf"
        in call["texts"]["Dockerfile.sidecar"]
    )
    assert f"cannot see the directory {tmp_path}" in screen._stream.getvalue()


def test_without_a_tool_it_is_said_which_ones_would_do(tools, screen):
    with pytest.raises(PreconditionFailed, match=r"docker, podman or buildah is needed .* none is installed"):
        sidecar_image.build_image(screen, None, "linux/amd64")


def test_a_failed_build_shows_the_end_of_what_the_tool_said(tools, screen):
    tools.add("buildah", code=3)
    with pytest.raises(PreconditionFailed, match=r"code 3\n  \| step by step"):
        sidecar_image.build_image(screen, None, "linux/amd64")


def test_without_the_projects_own_cluster_loading_names_the_way_out(tools, screen, monkeypatch):
    monkeypatch.setattr(sidecar_image, "_CLUSTER_SOCKETS", "no-such-cluster/*")
    with pytest.raises(PreconditionFailed, match=r"cluster up.*--image"):
        sidecar_image.load_image(screen, None)


@pytest.mark.parametrize("name", ["docker", "podman", "buildah"])
def test_every_tool_saves_an_archive(name, tmp_path):
    words = sidecar_image.Builder(name).save("r/i:1", tmp_path / "image.tar")
    assert words[0] == name
    assert any(str(tmp_path / "image.tar") in word for word in words)
    assert any("r/i:1" in word for word in words)


def test_this_platform_is_named_as_images_name_it():
    assert sidecar_image.this_platform().split("/")[0] == "linux"
    assert "x86_64" not in sidecar_image.this_platform()
