"""`--keep`, `--restart` and `--watch`, of all commands that run one of the user's."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from typing import Any

import click

from telepresence_py.cli.again import Again
from telepresence_py.cli.common import AnyCommand
from telepresence_py.cli.options import nearest
from telepresence_py.model.errors import BadUsage, NamedObjectMissing


def again_options(command: AnyCommand) -> AnyCommand:
    for option in (
        click.option("--watch", multiple=True, metavar="PATH", help="What --restart watches; repeatable."),
        click.option(
            "--restart",
            is_flag=True,
            help="Start COMMAND again when it crashes, and when files of this directory change.",
        ),
        click.option("--keep", is_flag=True, help="When COMMAND ends, wait until it is started again."),
    ):
        command = option(command)
    return command


def again_choice(options: dict[str, Any]) -> Again:
    """What the options ask for; they are taken out of `options`. Raises as `watched_paths` does."""
    keep, restart, watch = (options.pop(name) for name in ("keep", "restart", "watch"))
    return Again(keep, restart, watched_paths(watch, restart))


def watched_paths(words: Iterable[str], restart: bool) -> tuple[str, ...]:
    """What `--restart` watches: each `--watch`, else the working directory. NamedObjectMissing names the path
    that is not there; BadUsage when `--watch` stands alone."""
    words = tuple(words)
    if not restart:
        if words:
            raise BadUsage("--watch says what --restart watches; add --restart")
        return ()
    for word in words:
        if not os.path.exists(word):
            raise NamedObjectMissing(
                f"--watch {shlex.quote(word)}: there is no such file or directory{_meant(word)}"
            )
    try:
        return tuple(dict.fromkeys(os.path.abspath(word) for word in words or (".",)))
    except FileNotFoundError:
        raise NamedObjectMissing(
            "the working directory is gone, so --restart cannot watch it; go to another"
        ) from None


def _meant(word: str) -> str:
    directory, name = os.path.split(word.rstrip("/"))
    try:
        meant = nearest(name, os.listdir(directory or "."))
    except OSError:
        return ""
    return f"; did you mean {os.path.join(directory, meant)}?" if meant else ""
