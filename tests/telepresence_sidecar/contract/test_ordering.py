from __future__ import annotations

import random

import pytest

from telepresence_sidecar.contract.frames import Frame, FrameType, ProtocolError
from telepresence_sidecar.contract.ordering import Ordering


def data(payload: bytes) -> Frame:
    return Frame(FrameType.DATA, 1, payload)


def move(before: int) -> Frame:
    return Frame(FrameType.MOVE, 1, before.to_bytes(8, "big"))


EOF = Frame(FrameType.EOF, 1, b"")


def heard(ordering: Ordering[str], *frames: tuple[Frame, str]) -> list[tuple[bytes, str]]:
    """What is let through, with the lane by which it came."""
    return [(due.payload, by) for frame, lane in frames for due, by in ordering.sort(frame, lane)]


def test_who_moves_when_all_is_there_is_heard_at_once() -> None:
    ordering: Ordering[str] = Ordering()
    frames = (data(b"one"), "first"), (move(3), "bulk"), (data(b"two"), "bulk")
    assert heard(ordering, *frames) == [(b"one", "first"), (b"two", "bulk")]
    assert ordering.passed == 6


def test_what_overtakes_is_held_with_the_end_behind_it_until_what_went_before_is_there() -> None:
    ordering: Ordering[str] = Ordering()
    assert heard(ordering, (move(6), "bulk"), (data(b"three"), "bulk"), (EOF, "bulk")) == []
    assert heard(ordering, (data(b"one"), "first")) == [(b"one", "first")]
    assert heard(ordering, (data(b"two"), "first")) == [(b"two", "first"), (b"three", "bulk"), (b"", "bulk")]


def test_a_move_between_what_is_held_waits_for_its_own_bytes() -> None:
    ordering: Ordering[str] = Ordering()
    assert (
        heard(ordering, (move(1), "bulk"), (data(b"b"), "bulk"), (move(3), "bulk"), (data(b"d"), "bulk"))
        == []
    )
    assert heard(ordering, (data(b"a"), "first")) == [(b"a", "first"), (b"b", "bulk")]
    assert heard(ordering, (move(2), "first"), (data(b"c"), "first")) == [(b"c", "first"), (b"d", "bulk")]


@pytest.mark.parametrize("seed", range(50))
def test_any_moves_come_out_in_order_however_the_lanes_run(seed: int) -> None:
    dice = random.Random(seed)
    lanes: list[list[Frame]] = [[], []]
    sent, lane = b"", 0
    for _ in range(40):
        if dice.random() < 0.4:
            lane = 1 - lane
            lanes[lane].append(move(len(sent)))
        else:
            piece = dice.randbytes(dice.choice([1, 3]))
            lanes[lane].append(data(piece))
            sent += piece
    lanes[lane].append(EOF)
    ordering: Ordering[int] = Ordering()
    came: list[Frame] = []
    while any(lanes):
        by = dice.choice([number for number in (0, 1) if lanes[number]])
        came += [due for due, _ in ordering.sort(lanes[by].pop(0), by)]
    assert b"".join(frame.payload for frame in came) == sent
    assert came[-1] is EOF


@pytest.mark.parametrize(
    "frames",
    [
        [(move(9), "bulk"), (move(12), "first")],
        [(Frame(FrameType.MOVE, 1, b"short"), "bulk")],
    ],
)
def test_what_can_be_in_no_order_is_an_error(frames: list[tuple[Frame, str]]) -> None:
    with pytest.raises(ProtocolError):
        heard(Ordering(), *frames)
