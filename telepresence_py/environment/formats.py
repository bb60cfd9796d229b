"""PURE: the formats of `--env-format`: what a file of each looks like, and what it cannot hold.

A variable that a format cannot hold is not in the file: half a value, or a file that its reader refuses,
would be worse than none. Whoever writes the file says which these are, and why. docs/environment.md has the
table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from telepresence_py.environment import dotenv, shells

_DOCKER_LINE_BYTES = 65535
"""Of docker's reader (bufio.Scanner of Go) a line is at most 64 KiB long, its end included."""


@dataclass(frozen=True)
class Unheld:
    """Variables that a file does not hold, sorted, and why: `values of several lines`."""

    names: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        return f"{', '.join(repr(name) for name in self.names)} ({self.reason})"


@dataclass(frozen=True)
class Written:
    """The content of a file, and what it does not hold."""

    content: bytes
    unheld: tuple[Unheld, ...]


@dataclass(frozen=True)
class _Lack:
    """What a format cannot hold, for one reason."""

    reason: str
    lacks: Callable[[str, str], bool]


@dataclass(frozen=True)
class _Format:
    """`text` is for variables with none of the lacks, of which the first that holds is told."""

    text: Callable[[Mapping[str, str]], str]
    lacks: tuple[_Lack, ...] = ()


def write(form: str, variables: Mapping[str, str]) -> Written:
    """The variables, sorted, as a file of that format, which is one of FORMATS.

    Values may be of several lines, or carry surrogate escapes for bytes that are not UTF-8.
    """
    kind = FORMATS[form]
    held: dict[str, str] = {}
    lacking: dict[str, list[str]] = {}
    for name, value in sorted(variables.items()):
        reason = next((lack.reason for lack in kind.lacks if lack.lacks(name, value)), None)
        if reason is None:
            held[name] = value
        else:
            lacking.setdefault(reason, []).append(name)
    unheld = tuple(Unheld(tuple(names), reason) for reason, names in lacking.items())
    return Written(kind.text(held).encode("utf-8", "surrogateescape"), unheld)


def _lines(line: Callable[[str, str], str]) -> Callable[[Mapping[str, str]], str]:
    return lambda variables: "".join(line(name, value) for name, value in variables.items())


def _json(variables: Mapping[str, str]) -> str:
    return json.dumps(dict(variables), indent=2) + "\n"  # in ASCII: an escaped byte stands as \udcff


def _powershell(variables: Mapping[str, str]) -> str:
    text = _lines(shells.powershell_line)(variables)
    # without the mark, Windows PowerShell takes a file for one in the code page of the machine
    return text if text.isascii() else f"\ufeff{text}"


def _docker_line(name: str, value: str) -> str:
    return f"{name}={value}\n"


def _is_no_text(_name: str, value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return True
    return False


def _names(pattern: str) -> _Lack:
    allowed = re.compile(pattern)
    return _Lack("names that it does not take", lambda name, _value: allowed.fullmatch(name) is None)


def _names_of(taken: frozenset[str]) -> _Lack:
    return _Lack("names that the shell keeps for itself", lambda name, _value: name in taken)


_SHELL_NAMES = _names(shells.NAME)
_DOTTED_NAMES = _names(dotenv.NAME)
_DOCKER_NAMES = _names(r"[!\"$-<>-~][!-<>-~]*")
_NO_TEXT = _Lack("values that are not UTF-8", _is_no_text)
_SEVERAL_LINES = _Lack("values of several lines", lambda _name, value: "\n" in value)
_RETURN_AT_END = _Lack("values that end in a carriage return", lambda _name, value: value.endswith("\r"))
_LONG = _Lack(
    "values over 64 KiB", lambda name, value: len(_docker_line(name, value).encode()) > _DOCKER_LINE_BYTES
)

FORMATS: Mapping[str, _Format] = {
    "dotenv": _Format(_lines(dotenv.dotenv_line), (_DOTTED_NAMES, _NO_TEXT)),
    "json": _Format(_json),
    "shell": _Format(_lines(shells.shell_line), (_SHELL_NAMES, _names_of(shells.OF_SHELLS))),
    "fish": _Format(_lines(shells.fish_line), (_SHELL_NAMES, _names_of(shells.OF_FISH))),
    "powershell": _Format(_powershell, (_DOTTED_NAMES, _NO_TEXT)),
    "docker": _Format(_lines(_docker_line), (_DOCKER_NAMES, _NO_TEXT, _SEVERAL_LINES, _RETURN_AT_END, _LONG)),
}
