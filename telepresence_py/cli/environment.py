"""`--env-file`, `--env-json`, `--env-from`: the options, and what they mean as values."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from telepresence_py.cli.common import AnyCommand, not_empty
from telepresence_py.model.errors import BadUsage, NamedObjectMissing
from telepresence_py.model.intent import EnvironmentChoice


def environment_options(command: AnyCommand) -> AnyCommand:
    for option in (
        click.option(
            "--env-from",
            callback=not_empty,
            metavar="FILE",
            help="Lay the variables of FILE (dotenv) over the pod's.",
        ),
        click.option("--env-json", callback=not_empty, metavar="FILE", help="The same, as a JSON object."),
        click.option(
            "--env-file",
            callback=not_empty,
            metavar="FILE",
            help="Write the pod's variables to FILE (dotenv, 0600).",
        ),
    ):
        command = option(command)
    return command


def environment_choice(options: dict[str, Any]) -> EnvironmentChoice:
    """What the options ask for; they are taken out of `options`.

    BadUsage for a malformed line of the file that is read, NamedObjectMissing when it cannot be read.
    """
    env_file, env_json, env_from = (options.pop(name) for name in ("env_file", "env_json", "env_from"))
    # the session process, which writes them, is in a directory of its own
    env_file, env_json = (path and os.path.abspath(path) for path in (env_file, env_json))
    if env_file and env_file == env_json:
        raise BadUsage(f"--env-file and --env-json both name {env_file}: name two files")
    return EnvironmentChoice(env_file, env_json, {} if env_from is None else _read(env_from))


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
