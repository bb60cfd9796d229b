"""Waiting for a condition that nothing announces, with a deadline that names what was awaited."""

from __future__ import annotations

import select
import time
from collections.abc import Callable

from tests.fakes.terminal import DEADLINE_SECONDS


def wait_until(condition: Callable[[], bool], what: str, seconds: float = DEADLINE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        select.select([], [], [], 0.005)
