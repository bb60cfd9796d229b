"""How many bytes may be under way on a link: what it delivers in a round trip, and a quarter more. Pure.

After BBR (draft-cardwell-iccrg-bbr-congestion-control), without its pacing of single packets: the largest
rate of delivery of the last round trips times the least round trip of the last seconds. The queue between the
ends so never holds more than the surplus, and a keystroke waits that long at most. Times are monotonic
seconds, totals are bytes since the beginning of the link.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

FLOOR = 2 << 20
"""Bytes that may always be under way: less would cost more in acknowledgements than it saves in waiting."""

CEILING = 16 << 20

SURPLUS = 1.25
"""What is under way, to what the link delivers in a round trip: so it shows when it could do more."""

FIRST_SURPLUS = 2.0
"""The same while the rate still grows from one round trip to the next."""

RATE_ROUNDS = 10
"""So many round trips a rate is remembered for."""

LEAST_SECONDS = 10.0
"""So long a round trip is remembered for; then the queue is let run empty, and it is measured anew."""

DRAINED_SHARE, DRAINED_FLOOR = 0.75, 128 << 10

WORTH_A_SAMPLE = 16 << 10
"""Bytes: a sender that says less at a time tells nothing of the link."""

ALIKE = 1.05
"""Round trips that differ by less confirm each other."""

FIRST_ROUND_TRIP = 0.05
SHORTEST_ROUND_TRIP = 0.0001


class _Sent(NamedTuple):
    """One write, and how things stood when it was made."""

    end: int
    at: float
    acked: int
    acked_at: float
    first_at: float
    dry: bool


class Pace:
    """Of one direction of one connection. `bound` is the answer; `round_trip` is the least of late.

    One that goes the same way as another, whose pace is given, begins with what that knows.
    """

    def __init__(self, acked: int, beside: Pace | None = None) -> None:
        self.bound = FLOOR
        self.round_trip = FIRST_ROUND_TRIP
        self._measured_at: float | None = None  # the least round trip
        self._drained_at: float | None = None  # since then the queue is empty, while `_draining`
        self._draining = False
        self._drained_least = 0.0
        self._sent: deque[_Sent] = deque()
        self._end = acked
        self._acked = acked
        self._acked_at = self._first_at = 0.0
        self._dry_until = acked
        self._rates: deque[tuple[int, float]] = deque()  # (round, rate), the largest first
        self._round = 0
        self._round_end = acked
        self._growing = True
        self._grown_to = 0.0
        self._rounds_without_growth = 0
        if beside is not None and beside._rates:
            rate = beside._rates[0][1]
            self.round_trip, self._measured_at = beside.round_trip, beside._measured_at
            self._rates.append((0, rate))
            self.bound = max(FLOOR, min(CEILING, int(rate * self.round_trip)))
            self._growing, self._grown_to = beside._growing, beside._grown_to

    def sent(self, total: int, now: float, more: bool) -> None:
        """`total` bytes have been written now; without `more` it was the sender that had no more, not the
        link."""
        if self._acked == self._end:  # nothing was under way
            self._acked_at = self._first_at = now
        self._end = total
        if not more:
            self._dry_until = total
        dry = self._dry_until > self._acked
        if dry and self._sent and total - self._sent[-1].end < WORTH_A_SAMPLE:
            return
        self._sent.append(_Sent(total, now, self._acked, self._acked_at, self._first_at, dry))

    def acked(self, total: int, now: float) -> None:
        """The other end has had `total` bytes."""
        last: _Sent | None = None
        while self._sent and self._sent[0].end <= total:
            last = self._sent.popleft()
        fresh, self._acked, self._acked_at = total - self._acked, total, now
        if last is None:
            return
        self._first_at = last.at
        if not last.dry:  # else it may have waited for others to be acknowledged with
            self.measured(now - last.at, now)
        if last.acked >= self._round_end:
            self._round += 1
            self._round_end = total
            self._look_for_growth(last.dry)
        taken = max(now - last.acked_at, last.at - last.first_at)
        self._rated((total - last.acked) / max(taken, self.round_trip), last.dry)
        self._set_bound(now, fresh)

    def measured(self, round_trip: float, now: float) -> None:
        """Something went out and came back."""
        round_trip = max(round_trip, SHORTEST_ROUND_TRIP)
        if self._measured_at is None or round_trip <= ALIKE * self.round_trip:
            least = round_trip if self._measured_at is None else min(round_trip, self.round_trip)
            self.round_trip, self._measured_at, self._draining = least, now, False
        elif self._draining:
            if self._drained_at is not None:
                self._drained_least = min(self._drained_least, round_trip)
                if now - self._drained_at > 2 * self.round_trip:
                    self.round_trip, self._measured_at = self._drained_least, now
                    self._draining = False
        elif now - self._measured_at > LEAST_SECONDS:
            self._draining, self._drained_at, self._drained_least = True, None, float("inf")
        self._set_bound(now, 0)

    # --- inside ----------------------------------------------------------------------------------------

    def _look_for_growth(self, dry: bool) -> None:
        """As long as each round trip brings more, the link's own rate has not been found."""
        if not self._growing or dry or not self._rates:
            return
        rate = self._rates[0][1]
        if rate >= SURPLUS * self._grown_to:
            self._grown_to, self._rounds_without_growth = rate, 0
        else:
            self._rounds_without_growth += 1
            self._growing = self._rounds_without_growth < 3

    def _rated(self, rate: float, dry: bool) -> None:
        """A sender that had little to say shows how much the link can do at least, not at most."""
        if dry and self._rates and rate <= self._rates[0][1]:
            return
        while self._rates and self._rates[-1][1] <= rate:
            self._rates.pop()
        self._rates.append((self._round, rate))
        while self._rates[0][0] < self._round - RATE_ROUNDS:
            self._rates.popleft()

    def _set_bound(self, now: float, fresh: int) -> None:
        """It grows by no more than a part of what was acknowledged: a burst would make a queue of its own."""
        product = self._rates[0][1] * self.round_trip if self._rates else 0.0
        if self._draining:
            self.bound = max(DRAINED_FLOOR, min(CEILING, int(DRAINED_SHARE * product)))
            if self._drained_at is None and self._end - self._acked <= self.bound:
                self._drained_at = now
        else:
            surplus = FIRST_SURPLUS if self._growing else SURPLUS
            most = self.bound + (fresh if self._growing else fresh // 4)
            self.bound = max(FLOOR, min(CEILING, int(surplus * product), most))
