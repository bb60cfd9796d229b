"""The child's variables as files for the user: `--env-file` and `--env-json`."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from telepresence_py.environment.formats import write
from telepresence_py.model.errors import PreconditionFailed
from telepresence_py.model.events import Event, Level, Report
from telepresence_py.model.intent import EnvironmentChoice


def require_environment_files(choice: EnvironmentChoice) -> None:
    """PreconditionFailed when a file of the choice could not be written; nothing is touched."""
    for path in (choice.env_file, choice.env_json):
        if path is not None:
            _require_ours(Path(path))


def write_environment_files(choice: EnvironmentChoice, variables: Mapping[str, str], report: Report) -> None:
    """Write the files of the choice, each whole or not at all, readable by the user alone.

    They are the user's from then on: nothing of ours removes them. PreconditionFailed when one cannot be
    written.
    """
    for path, form in ((choice.env_file, choice.env_format), (choice.env_json, "json")):
        if path is None:
            continue
        written = write(form, variables)
        _write(Path(path), written.content)
        if written.unheld:
            unheld = ", ".join(str(each) for each in written.unheld)
            text = f"{path} ({form}) does not hold {unheld}; --env-json FILE holds every variable"
            report(Event("environment-omitted", text, Level.WARNING))


def _write(path: Path, content: bytes) -> None:
    _require_ours(path)
    # the name is always the same, so that what a killed session left is replaced by the next one
    aside = path.with_name(f".{path.name}.telepresence-py")
    try:
        with suppress(FileNotFoundError):
            aside.unlink()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(aside, flags, 0o600), "wb") as file:
            file.write(content)
        aside.replace(path)
    except OSError as error:
        with suppress(OSError):
            aside.unlink()
        raise _refusal(path, error.strerror) from error


def _require_ours(path: Path) -> None:
    """Only a plain file of this user's is replaced: never what a link, a pipe or somebody else is behind."""
    directory = path.parent
    try:
        if not stat.S_ISDIR(directory.stat().st_mode):
            raise _refusal(path, f"{directory} is no directory")
        if not os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
            raise _refusal(path, f"you may not write in {directory}")
        facts = path.lstat()
    except FileNotFoundError as error:
        if not directory.exists():
            raise _refusal(path, f"there is no directory {directory}") from error
        return
    except OSError as error:
        raise _refusal(path, error.strerror) from error
    if not stat.S_ISREG(facts.st_mode):
        raise _refusal(path, "it is there and no plain file")
    if facts.st_uid != os.geteuid():
        raise _refusal(path, "it is somebody else's")


def _refusal(path: Path, reason: str | None) -> PreconditionFailed:
    return PreconditionFailed(f"cannot write the environment to {path} ({reason}): name another file")
