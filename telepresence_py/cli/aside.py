"""Options are parsed by a forked process: the parser stays in memory no longer than that, while a session may
last for days. Meanwhile this process imports what holds the session.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from telepresence_py.cli.again import Again
from telepresence_py.cli.render import Screen, Wanted

if TYPE_CHECKING:
    from telepresence_py.model.door import Opening

WITH_SESSIONS = ("swap", "run")
_told: list[int] = []
"""In the forked process: where to tell what was asked for."""


class Asked(NamedTuple):
    """A session, as the options ask for it."""

    opening: Opening
    wanted: Wanted
    again: Again


def hold_session(opening: Opening, screen: Screen, again: Again) -> int:
    """As `converse`; a forked process leaves that to the one that forked it."""
    if not _told:
        from telepresence_py.cli.conversation import converse

        return converse(opening, screen, again)
    with os.fdopen(_told.pop(), "wb") as pipe:
        pipe.write(_encode(Asked(opening, screen.wanted, again)))
    return 0


def parse_aside(words: Sequence[str]) -> Asked | int | None:
    """None in the forked process, which is to carry out the words. Else what they ask for; the exit code when
    that process has said already why there is none, or whatever else was wanted (`--help`)."""
    if not words or words[0] not in WITH_SESSIONS:
        return None
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _told.append(writing)
        return None
    os.close(writing)
    import_module("telepresence_py.cli.conversation")

    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    status = 0
    with suppress(ChildProcessError):  # a caller that ignores SIGCHLD
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return _decode(said) if said and status == 0 else status


def _encode(asked: Asked) -> bytes:
    from telepresence_py.model.door import encode

    options = {"wanted": vars(asked.wanted), "again": vars(asked.again)}
    return encode(asked.opening) + json.dumps(options).encode()


def _decode(said: bytes) -> Asked:
    from telepresence_py.model.door import Run, Swap, decode_from_cli

    line, _newline, rest = said.partition(b"\n")
    opening, options = decode_from_cli(line), json.loads(rest)
    assert isinstance(opening, Swap | Run)
    again = {**options["again"], "watch": tuple(options["again"]["watch"])}
    return Asked(opening, Wanted(**options["wanted"]), Again(**again))
