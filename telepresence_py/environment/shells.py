"""PURE: a variable as a line of a script that a shell reads: POSIX sh, fish, PowerShell.

Values stand between single quotes, in which these languages expand nothing; line ends stand as they are.
"""

from __future__ import annotations

import re

NAME = r"[A-Za-z_][A-Za-z0-9_]*"
"""POSIX, XBD 3.231."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


OF_SHELLS = _names(
    "BASHOPTS BASHPID BASH_ALIASES BASH_ARGC BASH_ARGV BASH_CMDS BASH_COMMAND BASH_LINENO BASH_SOURCE "
    "BASH_SUBSHELL BASH_VERSINFO DIRSTACK EPOCHREALTIME EPOCHSECONDS EUID FUNCNAME GROUPS HISTCMD LINENO "
    "OPTIND PPID RANDOM SECONDS SHELLOPTS SHLVL SRANDOM UID _"
)
"""Names of which dash or bash makes a value of its own, or that it refuses to set, and goes no further."""

OF_FISH = _names(
    "FISH_VERSION PWD SHLVL _ fish_kill_signal fish_killring fish_pid history hostname pipestatus status "
    "status_generation umask version"
)
"""The same of fish."""

_POWERSHELL_QUOTE = re.compile("['\u2018\u2019\u201a\u201b]")


def shell_line(name: str, value: str) -> str:
    """For `. FILE` in sh, and what descends from it. `name` is a NAME and not one of OF_SHELLS."""
    escaped = value.replace("'", "'\\''")
    return f"export {name}='{escaped}'\n"


def fish_line(name: str, value: str) -> str:
    """For `source FILE` in fish. `name` is a NAME and not one of OF_FISH."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"set -gx {name} '{escaped}'\n"


def powershell_line(name: str, value: str) -> str:
    """For `. FILE` in PowerShell, which takes typographic quotes for the plain one, and two of them for one.

    `name` may have `.` and `-` too.
    """
    escaped = _POWERSHELL_QUOTE.sub(lambda quote: quote[0] * 2, value)
    return f"${{Env:{name}}} = '{escaped}'\n"
