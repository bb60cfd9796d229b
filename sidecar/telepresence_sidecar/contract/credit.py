"""How many bytes of one stream may be under way. Pure.

The receiver grants credit; the sender never exceeds it but by the spare, which all its streams share and the
grants that follow pay back. A small window would bound the rate to window / round trip, a large one fills
every queue between the ends and costs memory when the reader stalls. So a window starts small and grows
fourfold only while a whole window is consumed in less than two round trips: it settles between two and eight
times rate x round trip, and a stalled reader never grows it.
"""

from __future__ import annotations

INITIAL_WINDOW = 256 << 10
"""Bytes; what a sender may send on a new stream unasked."""

LARGEST_WINDOW = 8 << 20

GROWTH = 4
"""A long way is filled within a few round trips."""

SHORTEST_ROUND_TRIP = 0.01
"""Seconds; below this, turns on the processor and not the path decide, and a small window waits for them."""


SPARE = 4 << 20
"""Bytes that all streams of one mux together may send beyond their windows: a transfer so need not begin with
a round trip in which it waits for a larger one."""


class SpareCredit:
    """What is left of SPARE, at the sending end. A stream that ends with some of it under way owes it until
    the receiver says that it has let go of the bytes."""

    def __init__(self, left: int = SPARE) -> None:
        self.left = left
        self._owed: dict[int, int] = {}

    def owe(self, stream: int, count: int) -> None:
        self._owed[stream] = count

    def settle(self, stream: int, count: int) -> None:
        """The receiver has done with so many bytes of a stream that has ended here."""
        owed = self._owed.pop(stream, 0)
        self.left += min(owed, count)
        if count < owed:
            self._owed[stream] = owed - count


class SendCredit:
    """What one stream may send: what its receiver granted, and beyond it of the spare."""

    __slots__ = ("_borrowed", "_own", "_spare")

    def __init__(self, spare: SpareCredit) -> None:
        self._spare = spare
        self._own = INITIAL_WINDOW
        self._borrowed = 0

    @property
    def left(self) -> int:
        return self._own + self._spare.left

    def spend(self, count: int) -> None:
        """No more than is left."""
        self._own -= count
        if self._own < 0:
            self._borrowed -= self._own
            self._spare.left += self._own
            self._own = 0

    def grant(self, count: int) -> None:
        """What was borrowed is given back first."""
        back = min(count, self._borrowed)
        self._borrowed -= back
        self._spare.left += back
        self._own += count - back

    def end(self, stream: int, *, settled: bool) -> None:
        """`settled`: the receiver has let go of all that there was."""
        if settled:
            self._spare.left += self._borrowed
        elif self._borrowed:
            self._spare.owe(stream, self._borrowed)
        self._borrowed = 0


class GrowthBudget:
    """Bytes by which all windows of one mux together may exceed their initial size.

    `reached` is the size that one of them has grown to: another that grows need not find it out again.
    """

    def __init__(self, total: int) -> None:
        self.reached = INITIAL_WINDOW
        self._left = total

    def take(self, count: int) -> bool:
        if count > self._left:
            return False
        self._left -= count
        return True

    def give_back(self, count: int) -> None:
        self._left += count


class ReceiveWindow:
    """One stream's window, at the receiving end. Times are monotonic seconds."""

    def __init__(self, budget: GrowthBudget, now: float) -> None:
        self.size = INITIAL_WINDOW
        self._budget = budget
        self._owed = 0
        self._consumed = 0
        self._since = now

    @property
    def has_grown(self) -> bool:
        """As it does for who sends much."""
        return self.size > INITIAL_WINDOW

    def consume(self, count: int, now: float, round_trip: float) -> int:
        """The reader took `count` bytes. Returns the credit to send now; 0 when it may wait."""
        self._owed += count
        self._consumed += count
        if self._consumed >= self.size:
            if now - self._since < 2 * max(round_trip, SHORTEST_ROUND_TRIP):
                self._grow()
            self._consumed, self._since = 0, now
        if self._owed < self.size // 4:
            return 0
        credit, self._owed = self._owed, 0
        return credit

    def close(self) -> None:
        """The stream is gone; its growth is there for others."""
        self._budget.give_back(self.size - INITIAL_WINDOW)
        self.size = INITIAL_WINDOW

    def _grow(self) -> None:
        step = GROWTH * self.size
        for size in (max(step, self._budget.reached), step):
            more = min(size, LARGEST_WINDOW) - self.size
            if more and self._budget.take(more):
                self._owed += more
                self.size += more
                self._budget.reached = max(self._budget.reached, self.size)
                return
