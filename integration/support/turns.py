"""One after another, although several processes of tests run side by side: what only one may do at a time."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator

from integration.support.cluster import cache_directory


@contextlib.contextmanager
def turn(name: str) -> Iterator[None]:
    """Wait until no other process of this machine's user has the turn of that name; then it is ours."""
    place = cache_directory() / f"turn-{name}.lock"
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
