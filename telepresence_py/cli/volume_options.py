"""`--volume`: how the command gets the pod's volumes."""

from __future__ import annotations

from collections.abc import Iterable

import click

from telepresence_py.cli.common import AnyCommand
from telepresence_py.cli.options import nearest
from telepresence_py.model.errors import BadUsage
from telepresence_py.model.intent import VOLUME_WAYS


def volume_options(command: AnyCommand) -> AnyCommand:
    return click.option(
        "--volume",
        multiple=True,
        metavar="PATH=copy|live|off",
        help="The volume at PATH of the pod: a copy, the pod's own files, or not at all.",
    )(command)


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
            meant = nearest(way, VOLUME_WAYS)
            hint = (
                f"did you mean {meant!r}?"
                if meant
                else f"write {', '.join(VOLUME_WAYS[:-1])} or {VOLUME_WAYS[-1]}"
            )
            raise BadUsage(f"--volume {word}: there is no way {way!r} to have a volume; {hint}")
        clean = path.rstrip("/") or "/"
        if ways.setdefault(clean, way) != way:
            raise BadUsage(f"--volume says twice how the command shall have {clean}")
    return ways
