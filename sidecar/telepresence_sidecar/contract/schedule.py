"""Who sends next: small before large, then by turns. Pure.

After fq_codel (RFC 8290): a stream that wakes with little to send goes first, once; whoever has more shares
the rest round robin. A bulk transfer so never stands before a keystroke, nor before another bulk transfer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

QUANTUM = 64 << 10
"""Bytes that one stream sends in its turn."""

SMALL = 4 << 10
"""Bytes up to which a waking stream counts as small."""

S = TypeVar("S")


class Schedule(Generic[S]):
    """A stream is in it at most once: the caller adds only streams that are not in it."""

    def __init__(self) -> None:
        self._fast: deque[S] = deque()
        self._slow: deque[S] = deque()

    def __len__(self) -> int:
        return len(self._fast) + len(self._slow)

    def wake(self, stream: S, queued: int) -> None:
        (self._fast if queued <= SMALL else self._slow).append(stream)

    def run(self, room: int, take: Callable[[S], tuple[int, bool]]) -> None:
        """Calls `take(stream)` by turns, until about `room` bytes are taken or nothing is left.

        `take` returns how many bytes it took and whether the stream has more that it may send.
        """
        while room > 0 and (self._fast or self._slow):
            stream = self._fast.popleft() if self._fast else self._slow.popleft()
            count, more = take(stream)
            room -= count
            if more:
                self._slow.append(stream)
