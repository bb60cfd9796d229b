from __future__ import annotations

from benchmarks.trials import Metric, Samples, Scale, limits, session_limits, trials
from benchmarks.ways import KUBECTL, LINK, OURS, SESSION

RATE = Metric("bulk", "MB/s", lambda answer: answer["rate"])
OTHER = Metric("other", "s", lambda answer: answer["seconds"])
SCALE = Scale(1 << 20, 1.0)


def samples(ours, theirs):
    found = Samples()
    for mine, other in zip(ours, theirs, strict=True):
        found.add(RATE, OURS, mine)
        found.add(RATE, KUBECTL, other)
    return found


def test_only_rounds_in_which_both_were_measured_count():
    (figure,) = samples([1.0, "broken", 3.0], [2.0, 2.0, "broken"]).figures("0 ms")
    assert figure.ours == (1.0,)
    assert figure.theirs == (2.0,)
    assert not figure.failed


def test_a_figure_without_any_round_tells_why():
    found = samples(["no answer"], [2.0])
    found.add(OTHER, OURS, 1.0)
    bulk, other = found.figures("0 ms")
    assert (bulk.failed, bulk.ours) == ("no answer", ())
    assert (other.failed, other.ours) == ("", (1.0,))


def test_a_way_that_never_was_open_has_one_row_for_all():
    found = samples(["not open"], [2.0])
    found.add(OTHER, OURS, "not open")
    (figure,) = found.figures("0 ms")
    assert figure.failed == "not open"


def test_a_rival_that_never_was_open_has_one_row_and_loses_us_no_figure():
    row, figure = samples([3.0], ["not open"]).figures("0 ms")
    assert (row.rival, row.failed) == ("kubectl port-forward", "not open")
    assert (figure.ours, figure.rival, figure.failed) == ((3.0,), "", "")


def test_a_figure_without_a_rival_has_our_samples():
    found = Samples()
    found.add(RATE, OURS, 7.0)
    (figure,) = found.figures("0 ms")
    assert (figure.ours, figure.rival, figure.theirs) == ((7.0,), "", ())


def test_the_same_rivals_stand_beside_each_way_of_ours():
    found = samples([1.0], [2.0])
    found.add(RATE, SESSION, 0.5)
    (tunnel,), (session,) = found.figures("a"), found.figures("b", way=SESSION)
    assert (tunnel.ours, tunnel.theirs) == ((1.0,), (2.0,))
    assert (session.ours, session.theirs) == ((0.5,), (2.0,))


def test_every_limit_is_one_of_a_figure_that_is_measured():
    names = {metric.name for trial in trials(SCALE) for metric in trial.metrics}
    for round_trip in (0, 20, 50):
        assert {name for name, _ in limits(round_trip)} <= names


def test_an_echo_by_a_slow_link_is_held_against_the_link():
    assert ("echo, p50", KUBECTL) in limits(0)
    assert ("echo, p50", LINK) in limits(50)
    assert ("echo, p50", KUBECTL) not in limits(50)


def test_a_truthful_connect_is_granted_the_round_trip_that_it_costs():
    one = ("new connection + echo, one after another", KUBECTL)
    truthful, fast = (session_limits(50, connect)[one].least_ratio for connect in ("truthful", "fast"))
    assert truthful is not None
    assert fast is not None
    assert truthful < fast
    assert session_limits(0, "fast") == {}
