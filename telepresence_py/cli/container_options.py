"""`--run-in` and `--build`: the command is a container of podman's, or of docker's. What cannot be is refused
here, before anything is touched. What few sessions need is imported when they need it."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import click

from telepresence_py import system
from telepresence_py.cli.common import AnyCommand
from telepresence_py.cli.options import nearest
from telepresence_py.model.errors import BadUsage, NamedObjectMissing, PreconditionFailed

METHOD = "podman"
"""Of a container, unless another is named."""

BY_DOCKER = "docker"
LABEL = "telepresence-py"
_FILES = ("Containerfile", "Dockerfile")
_NO_SUCH_IMAGE = 1
_BUILT = "localhost/telepresence-py-build"


def container_options(command: AnyCommand) -> AnyCommand:
    for option in (
        click.option(
            "--build",
            metavar="DIR",
            help="As --run-in, in an image built from DIR's Containerfile.",
        ),
        click.option(
            "--run-in",
            metavar="IMAGE",
            help="COMMAND, or what the image says without one, runs as a container of podman's or docker's.",
        ),
    ):
        command = option(command)
    return command


def container_choice(
    run_in: str | None, build: str | None, method: str | None, unkept: Sequence[str] = (), touch: bool = True
) -> str | None:
    """The image that the command shall run in; None when it is no container. Builds the image of `--build`,
    unless nothing shall be touched.

    `unkept` are options that were given, and that a container cannot keep.

    Raises BadUsage for what contradicts itself, NamedObjectMissing where image or directory are not there,
    PreconditionFailed where there is no rootless podman, or docker where that is the method, or the build
    fails.
    """
    if run_in is None and build is None:
        return None
    from telepresence_py.model.image import is_reference

    option = "--run-in" if run_in is not None else "--build"
    if run_in is not None and build is not None:
        raise BadUsage("--run-in names an image, and --build makes one: leave one of them out")
    if method not in (None, METHOD, BY_DOCKER):
        raise BadUsage(
            f"{option} works by --method {METHOD} or {BY_DOCKER} alone, not by {method}: leave it out"
        )
    for other in unkept:
        raise BadUsage(f"{option} and {other} exclude each other: a container's own files are its image's")
    if run_in is not None and not is_reference(run_in):
        raise BadUsage(f"--run-in: {run_in!r} does not name an image; write for example localhost/name:tag")
    source = None if build is None else _source(build)
    if not system.LINUX:
        raise PreconditionFailed(f"{option} needs Linux, as the pod's network is made of its namespaces")
    tool = _docker(option) if method == BY_DOCKER else _podman(option)
    if touch and tool.name == METHOD:
        _remove_left(tool)
    if source is not None:
        return _built(tool, source) if touch else _built_name(source)
    assert run_in is not None
    if _ask(tool, *tool.finds, run_in) == _NO_SUCH_IMAGE:
        raise NamedObjectMissing(
            f"--run-in: {tool.name} has no image {run_in} here; fetch it by `{tool.name} pull {run_in}`, or "
            "have one made by --build DIR"
        )
    return run_in


class _Tool(NamedTuple):
    """`words` begin its command lines, `finds` those that look for an image; `ask` gives exit code and last
    line, and raises `failed`."""

    name: str
    words: tuple[str, ...]
    finds: tuple[str, ...]
    ask: Callable[[Sequence[str]], tuple[int, str]]
    failed: type[Exception]


def _source(word: str) -> Path:
    """The Containerfile or Dockerfile of a directory."""
    directory = Path(word)
    if not directory.is_dir():
        try:
            meant = nearest(directory.name, os.listdir(directory.parent))
        except OSError:
            meant = None
        hint = f"; did you mean {directory.parent / meant}?" if meant else ""
        raise NamedObjectMissing(f"--build {shlex.quote(word)}: there is no such directory{hint}")
    for name in _FILES:
        if (directory / name).is_file():
            return directory / name
    raise NamedObjectMissing(
        f"--build {shlex.quote(word)}: there is neither a {' nor a '.join(_FILES)} in it; "
        "name the directory that has one"
    )


def _podman(option: str) -> _Tool:
    from telepresence_py.process.podman import PodmanFailed, ask_podman

    if shutil.which("podman") is None:
        besides = (
            f"; or take --method {BY_DOCKER}, by which docker runs it, whose daemon is root's"
            if shutil.which("docker")
            else ""
        )
        raise PreconditionFailed(f"{option} needs podman, which is not installed here{besides}")
    if os.geteuid() == 0:
        raise PreconditionFailed(
            f"{option} needs rootless podman, which root does not have; run this as a plain user"
        )
    return _Tool("podman", ("podman",), ("image", "exists"), ask_podman, PodmanFailed)


def _remove_left(podman: _Tool) -> None:
    """Containers of sessions that died together with podman's own watch over them. Those of others are
    running, or so young that they may be about to."""
    _ask(podman, "container", "prune", "--force", "--filter", f"label={LABEL}", "--filter", "until=2m")


def _docker(option: str) -> _Tool:
    from telepresence_py.process.docker import DockerFailed, ask_docker, find_daemon

    if os.geteuid() == 0:
        raise PreconditionFailed(f"{option} by --method {BY_DOCKER} is for plain users; run this as one")
    try:
        daemon = find_daemon()
    except DockerFailed as failed:
        raise PreconditionFailed(f"{option} by --method {BY_DOCKER} cannot work: {failed}") from failed

    def ask(words: Sequence[str]) -> tuple[int, str]:
        return ask_docker(daemon, words)

    return _Tool("docker", daemon.words, ("image", "inspect"), ask, DockerFailed)


def _built(tool: _Tool, source: Path) -> str:
    """The image of the build, which tells its progress on stderr; what did not change since the last time is
    not made again."""
    import subprocess

    name = _built_name(source)
    told = subprocess.run(
        (*tool.words, "build", "--tag", name, "--file", str(source), str(source.parent)),
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        check=False,
    )
    if told.returncode:
        raise PreconditionFailed(
            f"--build {shlex.quote(str(source.parent))}: {tool.name} could not make an image of it (it ended "
            f"with {told.returncode}, and told why above); nothing in the cluster was touched"
        )
    return name


def _built_name(source: Path) -> str:
    import hashlib

    directory = os.fsencode(source.parent.resolve())
    return f"{_BUILT}-{hashlib.sha256(directory).hexdigest()[:12]}"


def _ask(tool: _Tool, *words: str) -> int:
    """The exit code, which is 0 or 1; PreconditionFailed for any other."""
    try:
        code, said = tool.ask(words)
    except tool.failed as failed:
        raise PreconditionFailed(f"{tool.name} cannot be asked: {failed}") from failed
    if code > _NO_SUCH_IMAGE:
        raise PreconditionFailed(
            f"{tool.name} does not work here: `{tool.name} {' '.join(words[:2])}` says: {said}"
        )
    return code
