"""`--run-in` and `--build`: the command is a container of podman's. What cannot be is refused here, before
anything is touched. What few sessions need is imported when they need it."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from telepresence_py import system
from telepresence_py.cli.common import AnyCommand
from telepresence_py.cli.options import nearest
from telepresence_py.model.errors import BadUsage, NamedObjectMissing, PreconditionFailed

METHOD = "podman"
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
            help="COMMAND, or what the image says without one, runs as a container of podman's.",
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
    PreconditionFailed where there is no rootless podman or the build fails.
    """
    if run_in is None and build is None:
        return None
    from telepresence_py.model.image import is_reference

    option = "--run-in" if run_in is not None else "--build"
    if run_in is not None and build is not None:
        raise BadUsage("--run-in names an image, and --build makes one: leave one of them out")
    if method not in (None, METHOD):
        raise BadUsage(f"{option} works by --method {METHOD} alone; leave --method {method} out")
    for other in unkept:
        raise BadUsage(f"{option} and {other} exclude each other: a container's own files are its image's")
    if run_in is not None and not is_reference(run_in):
        raise BadUsage(f"--run-in: {run_in!r} does not name an image; write for example localhost/name:tag")
    source = None if build is None else _source(build)
    _require_podman(option)
    if touch:
        _remove_left()
    if source is not None:
        return _built(source) if touch else _built_name(source)
    assert run_in is not None
    if _ask("image", "exists", run_in) == _NO_SUCH_IMAGE:
        raise NamedObjectMissing(
            f"--run-in: podman has no image {run_in} here; fetch it by `podman pull {run_in}`, or have one "
            "made by --build DIR"
        )
    return run_in


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


def _require_podman(option: str) -> None:
    if not system.LINUX:
        raise PreconditionFailed(f"{option} needs Linux, as the pod's network is made of its namespaces")
    if shutil.which("podman") is None:
        besides = (
            ": docker's daemon starts containers out of reach of the pod's network and files"
            if shutil.which("docker")
            else ""
        )
        raise PreconditionFailed(f"{option} needs podman, which is not installed here{besides}")
    if os.geteuid() == 0:
        raise PreconditionFailed(
            f"{option} needs rootless podman, which root does not have; run this as a plain user"
        )


def _remove_left() -> None:
    """Containers of sessions that died together with podman's own watch over them. Those of others are
    running, or so young that they may be about to."""
    _ask("container", "prune", "--force", "--filter", f"label={LABEL}", "--filter", "until=2m")


def _built(source: Path) -> str:
    """The image of the build, which tells its progress on stderr; what did not change since the last time is
    not made again."""
    import subprocess

    name = _built_name(source)
    told = subprocess.run(
        ("podman", "build", "--tag", name, "--file", str(source), str(source.parent)),
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        check=False,
    )
    if told.returncode:
        raise PreconditionFailed(
            f"--build {shlex.quote(str(source.parent))}: podman could not make an image of it (it ended with "
            f"{told.returncode}, and told why above); nothing in the cluster was touched"
        )
    return name


def _built_name(source: Path) -> str:
    import hashlib

    directory = os.fsencode(source.parent.resolve())
    return f"{_BUILT}-{hashlib.sha256(directory).hexdigest()[:12]}"


def _ask(*words: str) -> int:
    """The exit code, which is 0 or 1; PreconditionFailed for any other."""
    from telepresence_py.process.podman import PodmanFailed, ask_podman

    try:
        code, said = ask_podman(words)
    except PodmanFailed as failed:
        raise PreconditionFailed(f"podman cannot be asked: {failed}") from failed
    if code > _NO_SUCH_IMAGE:
        raise PreconditionFailed(f"podman does not work here: `podman {' '.join(words[:2])}` says: {said}")
    return code
