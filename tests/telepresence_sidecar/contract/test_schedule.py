from __future__ import annotations

from telepresence_sidecar.contract.schedule import QUANTUM, Schedule


def run(schedule: Schedule[str], queued: dict[str, int], room: int) -> list[str]:
    order: list[str] = []

    def take(stream: str) -> tuple[int, bool]:
        count = min(QUANTUM, queued[stream])
        queued[stream] -= count
        order.append(stream)
        return count, queued[stream] > 0

    schedule.run(room, take)
    return order


def test_who_wakes_with_little_goes_first() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.wake("bulk", 1 << 20)
    schedule.wake("keystroke", 10)
    assert run(schedule, {"bulk": 1 << 20, "keystroke": 10}, QUANTUM + 1000) == ["keystroke", "bulk", "bulk"]


def test_bulk_streams_take_turns() -> None:
    schedule: Schedule[str] = Schedule()
    queued = {"a": 4 * QUANTUM, "b": 2 * QUANTUM}
    for name, size in queued.items():
        schedule.wake(name, size)
    assert run(schedule, queued, 10 * QUANTUM) == ["a", "b", "a", "b", "a", "a"]
    assert len(schedule) == 0


def test_nothing_is_taken_without_room() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.wake("a", 1)
    assert run(schedule, {"a": 1}, 0) == []
    assert len(schedule) == 1
