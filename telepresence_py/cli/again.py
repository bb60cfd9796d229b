"""Whether another child follows when one ended, and when. Pure."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from enum import Enum

LONG_LIFE_SECONDS = 10.0
"""A child that lived so long did start: its crash is not the fault of the one before."""

LONGEST_PAUSE_SECONDS = 30.0


@dataclass(frozen=True)
class Again:
    """`--keep`, `--restart`, and absolutely what `--restart` watches."""

    keep: bool = False
    restart: bool = False
    watch: tuple[str, ...] = ()

    @property
    def is_wanted(self) -> bool:
        return self.keep or self.restart


ONCE = Again()
"""No child follows the first."""


class Next(Enum):
    """What comes after a child. START at once or, after a crash, when `BackOff` says."""

    START = "start another"
    WAIT = "wait for the user"
    OVER = "none follows"


def what_follows(again: Again, status: int, changed: bool, interrupted: bool) -> Next:
    """`status` as waitpid gives it, `changed` files made us end it, `interrupted` the user did, by ^C."""
    if changed or (again.restart and status != 0 and not interrupted):
        return Next.START
    return Next.WAIT if again.keep else Next.OVER


class BackOff:
    """Seconds until a crashed child is started again: none, then 1, 2, 4, ..., 30; anew after a long life."""

    def __init__(self) -> None:
        self._next = 0.0

    def reset(self) -> None:
        self._next = 0.0

    def pause(self, lived_seconds: float) -> float:
        if lived_seconds >= LONG_LIFE_SECONDS:
            self.reset()
        pause, self._next = self._next, min(LONGEST_PAUSE_SECONDS, max(1.0, 2 * self._next))
        return pause


def how_it_ended(status: int) -> str:
    if status < 0:
        return f"the command was ended by {signal.Signals(-status).name}"
    return f"the command exited with {status}"
