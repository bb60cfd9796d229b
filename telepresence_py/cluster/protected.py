"""Contexts that the user wants to be asked about first: `protected_contexts = ["prod-*"]` in config.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from telepresence_py.model.errors import PreconditionFailed


def is_protected(context: str, patterns: Iterable[str]) -> bool:
    """Whether one of the shell patterns (`*`, `?`, `[...]`, case counts) covers the whole name."""
    return any(fnmatchcase(context, pattern) for pattern in patterns)


def config_file(environment: Mapping[str, str]) -> Path:
    """`$XDG_CONFIG_HOME/telepresence-py/config.toml`; the base directory defaults to ~/.config."""
    base = environment.get("XDG_CONFIG_HOME") or ""
    root = (
        Path(base)
        if Path(base).is_absolute()
        else Path(environment.get("HOME", "~")).expanduser() / ".config"
    )
    return root / "telepresence-py" / "config.toml"


def protected_patterns(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The patterns of the user's config file, none without a file.

    PreconditionFailed for a file that cannot be understood: a slip of the pen must not undo a safety catch.
    """
    path = config_file(environment)
    try:
        with path.open("rb") as stream:
            patterns = tomllib.load(stream).get("protected_contexts", [])
    except FileNotFoundError:
        return ()
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise PreconditionFailed(f"cannot read the configuration {path}: {error}") from error
    if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
        raise PreconditionFailed(
            f'in {path}, protected_contexts must be a list of patterns, such as ["prod-*"]'
        )
    return tuple(patterns)
