"""Where a command would be executed from, as execvp(3) looks for it; and executing it."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from typing import NoReturn

from telepresence_py.model.errors import CommandNotExecutable, CommandNotFound

_SHELL = "/bin/sh"
_SHEBANG = re.compile(rb"#![ \t]*([^ \t\n\0]+)")
_SHEBANG_BYTES = 256  # of which more are not looked at by the kernel
# a directory of PATH that is missing or closed to us does not end the search
_LOOK_FURTHER = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ESTALE, errno.ENODEV})


def candidates(word: str, search_path: str) -> list[str]:
    """The paths that `word` may stand for, in order; `search_path` is a PATH."""
    if "/" in word:
        return [word]
    return [os.path.join(directory or ".", word) for directory in search_path.split(os.pathsep)]


def check_command(word: str, search_path: str) -> None:
    """Raise CommandNotFound or CommandNotExecutable when the laptop alone can tell that `word` will not run.

    A path with a slash that the laptop does not have may lie in a volume of the pod: that one passes.
    """
    paths = candidates(word, search_path)
    present = [path for path in paths if os.path.exists(path)]
    if any(os.path.isfile(path) and os.access(path, os.X_OK) for path in present):
        return
    if "/" in word:
        if any(os.path.isdir(path) for path in present):
            raise CommandNotExecutable(f"{word!r} is a directory, not a command")
        if present:
            raise CommandNotExecutable(not_executable(word))
        return
    if any(os.path.isfile(path) for path in present):
        raise CommandNotExecutable(not_executable(word))
    raise CommandNotFound(not_found(word))


def interpreter_of(path: str) -> str | None:
    """The program that a script's first line names (execve(2)); None for what is no script or unreadable."""
    if not os.path.isfile(path):
        return None
    try:
        with open(path, "rb") as file:
            found = _SHEBANG.match(file.read(_SHEBANG_BYTES))
    except OSError:
        return None
    return None if found is None else os.fsdecode(found[1])


def execute(command: tuple[str, ...], environment: Mapping[str, str]) -> NoReturn:
    """Become the command, searched along the environment's PATH; OSError when nothing of it can be executed.

    A file without a header that the kernel knows is given to the shell, as execvp(3) and shells do.
    """
    refused = False
    for path in candidates(command[0], environment.get("PATH", os.defpath)):
        try:
            os.execve(path, command, environment)
        except OSError as error:
            if error.errno == errno.ENOEXEC:
                os.execve(_SHELL, [_SHELL, path, *command[1:]], environment)
            if error.errno not in _LOOK_FURTHER:
                raise
            refused = refused or error.errno == errno.EACCES
    number = errno.EACCES if refused else errno.ENOENT
    raise OSError(number, os.strerror(number), command[0])


def not_found(word: str) -> str:
    return f"the command {word!r} was not found; check its spelling and PATH"


def not_executable(word: str, reason: str = "") -> str:
    detail = f" ({reason})" if reason else ""
    return f"{word!r} cannot be executed{detail}; check that it is a program and has the execute permission"
