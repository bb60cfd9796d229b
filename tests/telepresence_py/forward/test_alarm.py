from __future__ import annotations

import asyncio
import time

from telepresence_py.forward.alarm import Alarm


def rings(*seconds: float) -> list[float]:
    """When it rang, set once for each of `seconds` at the start; looked at for 50 ms."""

    async def main() -> list[float]:
        began = time.monotonic()
        rung: list[float] = []
        alarm = Alarm(lambda: rung.append(time.monotonic() - began))
        for each in seconds:
            alarm.within(each)
        await asyncio.sleep(0.05)
        alarm.close()
        return rung

    return asyncio.run(main())


def test_it_rings_once_and_not_before_its_time() -> None:
    (rung,) = rings(0.0002)
    assert rung >= 0.0002


def test_the_shortest_of_many_is_finer_than_a_millisecond() -> None:
    """What asyncio's own timer cannot do; other programs may delay one, but not all of them."""
    assert min(rings(0.0002)[0] for _ in range(20)) < 0.001


def test_an_earlier_time_stays_and_replaces_a_later_one() -> None:
    assert len(rings(0.002, 0.02)) == 1
    (rung,) = rings(0.5, 0.002)
    assert rung < 0.5


def test_after_its_end_it_is_silent() -> None:
    assert rings(0.2) == []
