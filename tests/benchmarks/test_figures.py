from __future__ import annotations

from benchmarks.figures import FAILED, MISSED, Figure, Limit, percentile, table, tables


def test_the_ratio_is_taken_round_by_round():
    figure = Figure("start", "s", (2.0, 40.0, 6.0), "rival", (1.0, 20.0, 2.0))
    assert figure.ratio == 2.0


def test_a_limit_is_kept_when_it_is_reached_exactly():
    limit = Limit(most_ratio=1.5, least_ratio=1.5, most=3.0, least=3.0)
    assert not Figure("start", "s", (3.0,), "rival", (2.0,), limit).missed


def test_each_bound_of_a_limit_can_be_missed():
    def missed(**bounds):
        return Figure("start", "s", (3.0,), "rival", (2.0,), Limit(**bounds)).missed

    assert missed(most_ratio=1.4)
    assert missed(most=2.9)
    assert missed(least_ratio=1.6)
    assert missed(least=3.1)
    assert not missed(most_ratio=1.6, most=3.1, least_ratio=1.4, least=2.9)


def test_a_missed_limit_is_a_marked_row_of_the_table():
    kept, missed = (
        Figure("kept", "s", (1.0,), limit=Limit(most=2)),
        Figure("late", "s", (3.0,), limit=Limit(most=2)),
    )
    lines = table([kept, missed]).splitlines()
    assert MISSED not in lines[2]
    assert MISSED in lines[3]
    assert "<= 2 s" in lines[3]


def test_what_could_not_be_measured_is_a_row_that_says_why():
    line = table([Figure("bulk", "MB/s", rival="kubectl", failed="no | answer\nin time")]).splitlines()[2]
    assert f"{FAILED}: no / answer in time" in line


def test_figures_of_a_group_stand_in_one_table_under_its_name():
    figures = [Figure("a", "s", (1.0,)), Figure("b", "s", (1.0,), group="50 ms"), Figure("c", "s", (1.0,))]
    first, name, second = tables(figures).split("\n\n")
    assert "| a " in first
    assert "| c " in first
    assert name == "50 ms"
    assert "| b " in second


def test_a_figure_beside_several_rivals_tells_its_own_value_once():
    rows = [Figure("bulk", "s", (1.0,), rival, (2.0,)) for rival in ("kubectl", "ssh")]
    first, second = table(rows).splitlines()[2:]
    assert "| bulk " in first
    assert "1 s" in first
    assert "bulk" not in second
    assert "1 s" not in second
    assert "0.50x" in second


def test_a_percentile_is_a_sample_that_was_taken():
    hundred = [float(number) for number in range(100, 0, -1)]
    assert percentile(hundred, 0.5) == 50
    assert percentile(hundred, 0.99) == 99
    assert percentile([7.0], 0.5) == percentile([7.0], 0.99) == 7.0


def test_a_row_tells_the_median_and_the_spread():
    row = table([Figure("start", "s", (1.0, 2.0, 9.0), "kubectl run", (1.0, 1.0, 1.0))]).splitlines()[2]
    assert "2 s (1 to 9)" in row
    assert "2.00x" in row
    assert "kubectl run" in row


def test_large_values_are_written_without_exponent():
    assert "12345 1/s" in table([Figure("rate", "1/s", (12345.4,))])
