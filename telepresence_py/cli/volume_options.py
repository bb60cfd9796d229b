"""`--volume`: how the command gets the pod's volumes."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable

import click

from telepresence_py.cli.common import AnyCommand
from telepresence_py.cli.options import hint
from telepresence_py.model.errors import BadUsage
from telepresence_py.model.intent import VOLUME_WAYS

_KERNELS_TREES = ("/dev", "/proc", "/sys")


def volume_options(command: AnyCommand) -> AnyCommand:
    for option in (
        click.option(
            "--volume",
            multiple=True,
            metavar="PATH=copy|live|off",
            help="The volume at PATH of the pod: a copy, the pod's own files, or not at all.",
        ),
        click.option(
            "--mount",
            metavar="DIR",
            help="The pod's volumes below DIR, too, which is empty or not there: DIR/var/run/secrets/...",
        ),
        click.option(
            "--file",
            multiple=True,
            metavar="PATH",
            help="A file or directory of the container that is in no volume; repeatable.",
        ),
    ):
        command = option(command)
    return command


def parse_prefix(word: str | None) -> str | None:
    """The absolute path that `--mount` names; BadUsage for what no session may put volumes below."""
    if word is None:
        return None
    if word in ("true", "false") or not word.strip() or "\0" in word:
        raise BadUsage(
            f"--mount {word!r}: write the directory below which the pod's volumes shall be, for example "
            "--mount /tmp/pod; without the option they are at their own paths alone"
        )
    path = os.path.abspath(word)
    if path == "/" or any(path == tree or path.startswith(f"{tree}/") for tree in _KERNELS_TREES):
        raise BadUsage(f"--mount {word}: nothing can be put there; name a directory such as /tmp/pod")
    return path


def parse_volumes(words: Iterable[str]) -> dict[str, str]:
    """Way by path, without a slash at its end; BadUsage when a word is malformed or contradicts another."""
    ways: dict[str, str] = {}
    for word in words:
        path, equals, way = word.rpartition("=")
        if not equals or not path.startswith("/") or "\0" in path:
            raise BadUsage(
                f"--volume {word}: write PATH=WAY with the path in the pod, for example --volume /data=live"
            )
        if way not in VOLUME_WAYS:
            raise BadUsage(
                f"--volume {word}: there is no way {way!r} to have a volume; {hint(way, VOLUME_WAYS)}"
            )
        clean = path.rstrip("/") or "/"
        if ways.setdefault(clean, way) != way:
            raise BadUsage(f"--volume says twice how the command shall have {clean}")
    return ways


def parse_files(words: Iterable[str]) -> tuple[str, ...]:
    """The absolute paths in the container that `--file` names, each once; BadUsage for one that is none, or
    that is in another."""
    paths: list[str] = []
    for word in words:
        path = posixpath.normpath("/" + word.lstrip("/"))
        if not word.startswith("/") or "\0" in word or ".." in word.split("/") or path == "/":
            raise BadUsage(
                f"--file {word}: write the path in the container, for example --file /etc/app/config.yaml"
            )
        if any(path == tree or path.startswith(f"{tree}/") for tree in _KERNELS_TREES):
            raise BadUsage(f"--file {word}: that is the kernel's own, which the command has of this laptop")
        paths.append(path)
    for path in paths:
        for other in paths:
            if path.startswith(f"{other}/"):
                raise BadUsage(f"--file {path} is in --file {other}, which has all of it; leave it out")
    return tuple(dict.fromkeys(paths))
