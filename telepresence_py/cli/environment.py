"""The options on the child's environment, `--env...` and `--unset`, and what they mean as values."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from telepresence_py.cli.common import AnyCommand, not_empty
from telepresence_py.cli.environment_words import (
    parse_assignments,
    parse_format,
    parse_globs,
    require_no_contradiction,
)
from telepresence_py.model.errors import BadUsage, NamedObjectMissing
from telepresence_py.model.intent import ENV_FORMATS, EnvironmentChoice


def environment_options(command: AnyCommand) -> AnyCommand:
    for option in (
        click.option(
            "--unset", multiple=True, metavar="GLOB", help="Have COMMAND not see it, whosever; repeatable."
        ),
        click.option("--env", multiple=True, metavar="NAME=VALUE", help="Set a variable; repeatable."),
        click.option(
            "--env-from",
            callback=not_empty,
            metavar="FILE",
            help="Lay the variables of FILE (dotenv) over the pod's.",
        ),
        click.option(
            "--env-exclude", multiple=True, metavar="GLOB", help="Not those of the pod; repeatable."
        ),
        click.option(
            "--env-include",
            multiple=True,
            metavar="GLOB",
            help="Of the pod's variables only these; repeatable.",
        ),
        click.option(
            "--env-json", callback=not_empty, metavar="FILE", help="Write them to FILE as a JSON object."
        ),
        click.option(
            "--env-format",
            metavar="FORMAT",
            help=f"Of --env-file: {', '.join(ENV_FORMATS)}.  [default: {ENV_FORMATS[0]}]",
        ),
        click.option(
            "--env-file", callback=not_empty, metavar="FILE", help="Write the pod's variables to FILE (0600)."
        ),
    ):
        command = option(command)
    return command


def environment_choice(options: dict[str, Any]) -> EnvironmentChoice:
    """What the options ask for; they are taken out of `options`.

    BadUsage for a malformed word, for a malformed line of the file that is read, and for a variable that the
    format of the file to be written cannot hold; NamedObjectMissing when a file to be read cannot be.
    """
    env_file, env_json, env_from, form = (
        options.pop(name) for name in ("env_file", "env_json", "env_from", "env_format")
    )
    words = {name: options.pop(name) for name in ("env_include", "env_exclude", "unset", "env")}
    # the session process, which writes them, is in a directory of its own
    env_file, env_json = (path and os.path.abspath(path) for path in (env_file, env_json))
    if env_file and env_file == env_json:
        raise BadUsage(f"--env-file and --env-json both name {env_file}: name two files")
    if form is not None and env_file is None:
        raise BadUsage("--env-format says how --env-file is written; add --env-file FILE")
    unset = parse_globs("--unset", words["unset"])
    assigned = parse_assignments(words["env"])
    require_no_contradiction(assigned, unset)
    choice = EnvironmentChoice(
        env_file=env_file,
        env_json=env_json,
        env_format=parse_format(form),
        laid_over=_laid_over(env_from, unset, assigned),
        include=parse_globs("--env-include", words["env_include"]),
        exclude=parse_globs("--env-exclude", words["env_exclude"]),
        unset=unset,
    )
    _require_holdable(choice)
    return choice


def _laid_over(env_from: str | None, unset: Iterable[str], assigned: dict[str, str]) -> dict[str, str]:
    """What is unset is not taken from the file, as a file is shared and a command line is this one's."""
    if env_from is None:
        return assigned
    from telepresence_py.environment.merging import matches

    read = _read(env_from)
    return {name: value for name, value in read.items() if not matches(name, unset)} | assigned


def _require_holdable(choice: EnvironmentChoice) -> None:
    """BadUsage for what the user gives. What the pod has is known only later, and told then."""
    if choice.env_file is None or not choice.laid_over:
        return
    from telepresence_py.environment.formats import write

    if unheld := write(choice.env_format, choice.laid_over).unheld:
        raise BadUsage(
            f"--env-file {choice.env_file} in the format {choice.env_format} cannot hold "
            f"{', '.join(str(each) for each in unheld)} of --env and --env-from: take another --env-format"
        )


def _read(path: str) -> dict[str, str]:
    from telepresence_py.environment.dotenv import DotenvError, read_dotenv

    try:
        return read_dotenv(os.fsdecode(Path(path).read_bytes()))
    except OSError as error:
        raise NamedObjectMissing(
            f"--env-from {path} cannot be read ({error.strerror}): name a file in dotenv syntax"
        ) from error
    except DotenvError as error:
        raise BadUsage(f"--env-from {path}:{error.line}: {error.reason}") from error
