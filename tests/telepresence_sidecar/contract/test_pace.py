"""Pace on a simulated link: a queue before a line of some rate, half a round trip each way, acknowledgements
for every 64 KiB or after 5 ms."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from telepresence_sidecar.contract.pace import CEILING, FLOOR, Pace

BATCH = 64 << 10
MB = 1_000_000


@dataclass
class Line:
    """`rate` in bytes per second, `round_trip` in seconds; `demand(now)` is what the application has written
    until then, endlessly much without it."""

    rate: float
    round_trip: float
    demand: Callable[[float], float] | None = None
    pace: Pace = field(default_factory=lambda: Pace(0))
    now: float = 0.0
    sent: int = 0
    acked: int = 0
    received: int = 0
    told: int = 0
    free_at: float = 0.0
    worst_queue: float = 0.0
    events: list[tuple[float, int, str, int]] = field(default_factory=list)
    serial: int = 0

    def later(self, at: float, what: str, value: int = 0) -> None:
        self.serial += 1
        heapq.heappush(self.events, (at, self.serial, what, value))

    def run(self, until: float) -> None:
        """Sends whatever may be sent, moves on to the next event, and so on."""
        self.worst_queue = 0.0
        if not self.events:
            self.later(self.now, "ping")
        if self.demand is not None:
            self.later(self.now, "tick")
        while self.events and self.events[0][0] <= until:
            self.now, _, what, value = heapq.heappop(self.events)
            getattr(self, what)(value)
            self._send()
        self.now = until

    def _send(self) -> None:
        while self.pace.bound - (self.sent - self.acked) > 0:
            asked = float("inf") if self.demand is None else self.demand(self.now)
            size = int(min(BATCH, asked - self.sent))
            if size <= 0:
                return
            self.sent += size
            self.free_at = max(self.free_at, self.now) + size / self.rate
            self.worst_queue = max(self.worst_queue, self.free_at - self.now)
            self.pace.sent(self.sent, self.now, more=asked >= self.sent + 1)
            self.later(self.free_at + self.round_trip / 2, "arrive", self.sent)

    def tick(self, _: int) -> None:
        if self.demand is not None:
            self.later(self.now + 0.005, "tick")

    def ping(self, _: int) -> None:
        at = max(self.free_at, self.now) + self.round_trip
        self.later(at, "pong", int((at - self.now) * 1e9))
        self.later(self.now + 2.0, "ping")

    def pong(self, nanoseconds: int) -> None:
        self.pace.measured(nanoseconds / 1e9, self.now)

    def arrive(self, total: int) -> None:
        self.received = total
        if total - self.told >= BATCH:
            self._tell()
        else:
            self.later(self.now + 0.005, "late")

    def late(self, _: int) -> None:
        if self.received > self.told:
            self._tell()

    def _tell(self) -> None:
        self.told = self.received
        self.later(self.now + self.round_trip / 2, "ack", self.told)

    def ack(self, total: int) -> None:
        self.acked = total
        self.pace.acked(total, self.now)

    @property
    def product(self) -> float:
        return self.rate * self.round_trip


LINES = [(100 * MB, 0.05), (20 * MB, 0.02), (300 * MB, 0.01), (10 * MB, 0.2)]


@pytest.mark.parametrize(("rate", "round_trip"), LINES)
def test_the_rate_is_found_within_a_few_round_trips(rate: float, round_trip: float) -> None:
    line = Line(rate, round_trip)
    line.run(8 * round_trip)
    assert line.pace.bound >= line.product
    begun = line.acked
    line.run(18 * round_trip)
    assert line.acked - begun >= 0.95 * rate * 10 * round_trip


@pytest.mark.parametrize(("rate", "round_trip"), LINES)
def test_no_more_than_a_quarter_of_the_product_stands_in_the_queue(rate: float, round_trip: float) -> None:
    line = Line(rate, round_trip)
    line.run(20 * round_trip)
    for second in range(22):
        line.run(20 * round_trip + second + 1)
        allowed = 0.25 * line.product + 2 * BATCH
        assert line.worst_queue * rate <= max(allowed, FLOOR), f"in second {second}"


@pytest.mark.parametrize(("rate", "round_trip"), LINES)
def test_the_rate_is_kept_while_the_round_trip_is_measured_anew(rate: float, round_trip: float) -> None:
    line = Line(rate, round_trip)
    line.run(5)
    begun = line.acked
    line.run(25)
    assert line.acked - begun >= 0.97 * rate * 20


def test_the_round_trip_is_not_taken_for_longer_by_the_queue_that_bulk_makes() -> None:
    line = Line(100 * MB, 0.05)
    line.run(35)
    assert line.pace.round_trip < 0.055


def test_what_is_known_survives_an_application_that_says_little() -> None:
    line = Line(100 * MB, 0.05)
    line.run(2)
    known, begun, since = line.pace.bound, line.sent, line.now
    line.demand = lambda now: begun + (now - since) * 20_000
    line.run(since + 13)
    assert line.pace.bound > 0.5 * known
    line.demand, begun = None, line.acked
    line.run(since + 14)
    assert line.acked - begun > 0.85 * 100 * MB


def test_a_slower_line_is_noticed_and_a_faster_one_again() -> None:
    line = Line(100 * MB, 0.05)
    line.run(2)
    line.rate = 20 * MB
    line.run(12)
    assert line.pace.bound < 2.6 * line.product
    line.rate = 100 * MB
    line.run(16)
    begun = line.acked
    line.run(17)
    assert line.acked - begun > 0.9 * 100 * MB


def test_a_first_word_leaves_what_a_link_may_carry_as_it_was() -> None:
    pace = Pace(0)
    pace.sent(10, 1.0, more=False)
    pace.acked(10, 1.06)
    assert pace.bound == FLOOR


def test_there_is_a_ceiling() -> None:
    line = Line(2000 * MB, 0.1)
    line.run(3)
    assert line.pace.bound == CEILING


def test_a_second_connection_of_the_same_way_need_not_find_out_what_the_first_knows() -> None:
    first = Line(150 * MB, 0.05)
    first.run(2)
    beside, alone = (Line(150 * MB, 0.05, pace=pace) for pace in (Pace(0, first.pace), Pace(0)))
    for line in (beside, alone):
        line.run(0.3)
    assert beside.acked > 1.2 * alone.acked
    assert beside.worst_queue < 1.1 * alone.worst_queue
