"""PURE: the words of the options on the environment, as values. Values of variables are never in an error."""

from __future__ import annotations

import re
from collections.abc import Iterable

from telepresence_py.cli.options import hint
from telepresence_py.model.errors import BadUsage
from telepresence_py.model.intent import ENV_FORMATS

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_GLOB = re.compile(r"(?:[^\s=,;\[\]]|\[[^\s=,;\]]+\])+")
_FORMAT_OF = {
    "env": "dotenv", ".env": "dotenv", "sh": "shell", "bash": "shell", "zsh": "shell", "posix": "shell",
    "ps": "powershell", "ps1": "powershell", "pwsh": "powershell",
}  # fmt: skip
"""What other tools call them."""


def parse_format(word: str | None) -> str:
    """One of ENV_FORMATS, the first without a word."""
    if word is None:
        return ENV_FORMATS[0]
    if word not in ENV_FORMATS:
        meant = _FORMAT_OF.get(word.lower(), word.lower())
        raise BadUsage(f"--env-format: there is no format {word!r}; {hint(meant, ENV_FORMATS)}")
    return word


def parse_globs(option: str, words: Iterable[str]) -> tuple[str, ...]:
    """Names in which `*` stands for anything, `?` for one character, `[...]` for one of those; each once."""
    words = tuple(dict.fromkeys(words))
    for word in words:
        name, equals, _value = word.partition("=")
        if equals:
            example = name if _GLOB.fullmatch(name) else "'DB_*'"
            raise BadUsage(f"{option} takes a name and no value: write {option} {example}")
        parts = [part for part in re.split(r"[\s,;]+", word) if part]
        if len(parts) > 1:
            raise BadUsage(f"{option} {word!r}: write {' '.join(f'{option} {part}' for part in parts)}")
        if not _GLOB.fullmatch(word):
            meant = parts and _GLOB.fullmatch(parts[0])
            hint = f"did you mean {parts[0]}?" if meant else "write for example 'DB_*'"
            raise BadUsage(f"{option} {word!r} is neither a name nor a glob; {hint}")
    return words


def parse_assignments(words: Iterable[str]) -> dict[str, str]:
    """The variables of `--env NAME=VALUE`; of two with the same name the later."""
    variables = {}
    for number, word in enumerate(words, 1):
        name, equals, value = word.partition("=")
        if not equals:
            # what has no name may be a secret that an empty $NAME left alone
            raise BadUsage(
                f"--env number {number} has no '=': write NAME=VALUE, or NAME= for an empty value; "
                "the laptop's own variables are there anyway"
            )
        if not _NAME.fullmatch(name):
            proposed = re.sub(r"[^A-Za-z0-9_.-]", "", name)
            meant = f"; did you mean {proposed}?" if _NAME.fullmatch(proposed) else ""
            raise BadUsage(
                f"--env {name!r}=...: names are made of letters, digits, '_', '.' and '-', and do not begin "
                f"with a digit{meant}"
            )
        variables[name] = value
    return variables


def require_no_contradiction(assigned: Iterable[str], unset: Iterable[str]) -> None:
    """BadUsage when one name is set and unset; a glob that matches more may stand beside a name."""
    if both := sorted(set(assigned) & set(unset)):
        raise BadUsage(f"--env sets {both[0]} and --unset takes it away: leave one of them out")
