from __future__ import annotations

from benchmarks.figures import MISSED, Figure, table


def test_the_ratio_is_taken_round_by_round():
    figure = Figure("start", "s", (2.0, 40.0, 6.0), "rival", (1.0, 20.0, 2.0))
    assert figure.ratio == 2.0


def test_a_limit_is_kept_when_it_is_reached_exactly():
    assert not Figure("start", "s", (3.0,), "rival", (2.0,), most_ratio=1.5, most=3.0).missed


def test_either_limit_can_be_missed():
    assert Figure("start", "s", (3.1,), "rival", (2.0,), most_ratio=1.5).missed
    assert Figure("start", "s", (3.1,), "rival", (4.0,), most_ratio=1.5, most=3.0).missed


def test_a_missed_limit_is_a_marked_row_of_the_table():
    kept, missed = Figure("kept", "s", (1.0,), most=2.0), Figure("late", "s", (3.0,), most=2.0)
    lines = table([kept, missed]).splitlines()
    assert MISSED not in lines[2]
    assert MISSED in lines[3]
    assert "<= 2 s" in lines[3]


def test_a_row_tells_the_median_and_the_spread():
    row = table([Figure("start", "s", (1.0, 2.0, 9.0), "kubectl run", (1.0, 1.0, 1.0))]).splitlines()[2]
    assert "2 s (1 to 9)" in row
    assert "2.00x" in row
    assert "kubectl run" in row
