"""Whether another child follows, and when."""

from __future__ import annotations

import pytest

from telepresence_py.cli.again import (
    LONG_LIFE_SECONDS,
    ONCE,
    Again,
    BackOff,
    Next,
    how_it_ended,
    what_follows,
)

KEEP, RESTART, BOTH = Again(keep=True), Again(restart=True), Again(keep=True, restart=True)


@pytest.mark.parametrize(
    ("again", "status", "changed", "interrupted", "next_"),
    [
        (ONCE, 0, False, False, Next.OVER),
        (ONCE, 1, False, False, Next.OVER),
        (KEEP, 0, False, False, Next.WAIT),
        (KEEP, -11, False, False, Next.WAIT),
        (KEEP, -2, False, True, Next.WAIT),
        (RESTART, 0, False, False, Next.OVER),
        (RESTART, 1, False, False, Next.START),
        (RESTART, -11, False, False, Next.START),
        (RESTART, -15, True, False, Next.START),
        (RESTART, 0, True, False, Next.START),
        (BOTH, 0, False, False, Next.WAIT),
        (BOTH, 1, False, False, Next.START),
        (BOTH, -2, False, True, Next.WAIT),
    ],
)
def test_what_follows_a_child(again, status, changed, interrupted, next_):
    assert what_follows(again, status, changed, interrupted) is next_


def test_a_crash_is_answered_at_once_and_then_more_and_more_slowly():
    back_off = BackOff()
    assert [back_off.pause(0.1) for _ in range(8)] == [0, 1, 2, 4, 8, 16, 30, 30]


def test_a_long_life_and_a_reset_make_the_next_crash_the_first():
    back_off = BackOff()
    for _ in range(4):
        back_off.pause(0.1)
    assert back_off.pause(LONG_LIFE_SECONDS) == 0
    assert back_off.pause(0.1) == 1
    back_off.reset()
    assert back_off.pause(0.1) == 0


def test_the_end_is_told_by_code_or_by_the_signals_name():
    assert how_it_ended(3) == "the command exited with 3"
    assert how_it_ended(-11) == "the command was ended by SIGSEGV"
