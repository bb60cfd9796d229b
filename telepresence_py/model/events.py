"""News that goes up: one frozen record, passed to a `report` callable, shown by the CLI."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum


class Level(Enum):
    STEP = "step"  # something began or was done; a live line on a terminal
    NOTICE = "notice"  # the user should know, nothing is wrong
    WARNING = "warning"  # something the user asked for does not hold, the session goes on
    DETAIL = "detail"  # --verbose only


@dataclass(frozen=True)
class Event:
    """`name` is stable, for programs (planned, created, connected, ready, in-place, restored, ...);
    `text` is one line for people, without a period at its end."""

    name: str
    text: str
    level: Level = Level.STEP
    data: dict[str, object] = field(default_factory=dict)


Report = Callable[[Event], None]
