"""What comes of one stream by two lanes, in the order in which it was sent. Pure.

A stream changes lanes without waiting: in the lane that it goes on in, MOVE comes first and tells how many of
its bytes went before. What follows is held until they are there; the sender's credit bounds how much that is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from .frames import Frame, FrameType, ProtocolError, decode_total

L = TypeVar("L")


class Ordering(Generic[L]):
    """Of one stream; `L` is a lane. `passed` of its bytes have been let through."""

    __slots__ = ("_held", "_held_of", "passed")

    def __init__(self) -> None:
        self.passed = 0
        self._held: deque[Frame] | None = None  # the first is a MOVE; hardly any stream ever has some
        self._held_of: L | None = None

    def sort(self, frame: Frame, lane: L) -> Iterable[tuple[Frame, L]]:
        """What is due now that `frame` has come by `lane`, to be gone through at once. ProtocolError: no
        order could be right."""
        if self._held or frame.type is FrameType.MOVE:
            return self._sorted(frame, lane)
        self._pass(frame)
        return ((frame, lane),)

    def _sorted(self, frame: Frame, lane: L) -> Iterator[tuple[Frame, L]]:
        if self._held and lane is self._held_of:
            self._held.append(frame)
            return
        if frame.type is FrameType.MOVE:
            if not self._is_due(frame):
                if self._held:
                    raise ProtocolError("a stream is ahead of itself in both lanes")
                self._held, self._held_of = deque([frame]), lane
            return
        self._pass(frame)
        yield frame, lane
        while self._held:
            frame = self._held[0]
            if frame.type is FrameType.MOVE:
                if not self._is_due(frame):
                    return
                self._held.popleft()
            else:
                self._pass(self._held.popleft())
                assert self._held_of is not None
                yield frame, self._held_of

    def _pass(self, frame: Frame) -> None:
        if frame.type is FrameType.DATA:
            self.passed += len(frame.payload)

    def _is_due(self, move: Frame) -> bool:
        return decode_total(move.payload) <= self.passed  # less, when nothing was sent before the next move
