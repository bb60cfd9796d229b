"""Waiting for a condition, with a deadline; there is no other waiting in these tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class TooLate(AssertionError):
    """A condition did not come true in time."""


def wait_until(
    condition: Callable[[], T | None],
    seconds: float,
    what: str,
    every: float = 0.1,
    seen: Callable[[], object] | None = None,
) -> T:
    """The first true value of `condition`, asked again `every` so many seconds.

    After `seconds` raises TooLate, which names `what` was awaited and, from `seen`, what there was instead.
    """
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            instead = f"; there was:\n{seen()}" if seen else f"; the last answer was {value!r}"
            raise TooLate(f"{what}: not within {seconds:g} s{instead}")
        time.sleep(every)
