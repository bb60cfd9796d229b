from __future__ import annotations

from telepresence_sidecar.contract.credit import (
    GROWTH,
    INITIAL_WINDOW,
    LARGEST_WINDOW,
    GrowthBudget,
    ReceiveWindow,
    SendCredit,
    SpareCredit,
)


def consume_for(window: ReceiveWindow, seconds: float, rate: float, round_trip: float) -> None:
    now = 0.0
    while now < seconds:
        now += 16384 / rate
        window.consume(16384, now, round_trip)


def test_credit_comes_back_by_quarters() -> None:
    window = ReceiveWindow(GrowthBudget(0), now=0.0)
    assert window.consume(INITIAL_WINDOW // 4 - 1, 1.0, 0.01) == 0
    assert window.consume(1, 2.0, 0.01) == INITIAL_WINDOW // 4
    assert window.consume(1, 3.0, 0.01) == 0


def test_a_window_settles_between_one_and_eight_times_rate_by_round_trip() -> None:
    window = ReceiveWindow(GrowthBudget(64 << 20), now=0.0)
    rate, round_trip = 40e6, 0.05
    consume_for(window, 20.0, rate, round_trip)
    assert rate * round_trip <= window.size <= 8 * rate * round_trip


def test_a_slow_reader_never_grows_its_window() -> None:
    window = ReceiveWindow(GrowthBudget(64 << 20), now=0.0)
    consume_for(window, 60.0, 1e6, 0.05)
    assert window.size == INITIAL_WINDOW


def test_a_window_never_exceeds_the_largest() -> None:
    window = ReceiveWindow(GrowthBudget(1 << 30), now=0.0)
    consume_for(window, 10.0, 1e9, 1.0)
    assert window.size == LARGEST_WINDOW


def test_growth_shares_one_budget_and_gives_it_back() -> None:
    budget = GrowthBudget((GROWTH - 1) * INITIAL_WINDOW)
    first, second = ReceiveWindow(budget, 0.0), ReceiveWindow(budget, 0.0)
    consume_for(first, 1.0, 100e6, 1.0)
    consume_for(second, 1.0, 100e6, 1.0)
    assert (first.size, second.size) == (GROWTH * INITIAL_WINDOW, INITIAL_WINDOW)
    first.close()
    consume_for(second, 1.0, 100e6, 1.0)
    assert second.size == GROWTH * INITIAL_WINDOW


def test_growth_is_granted_to_the_sender_as_credit() -> None:
    window = ReceiveWindow(GrowthBudget(64 << 20), now=0.0)
    granted = window.consume(INITIAL_WINDOW, 0.001, 0.05)
    assert granted == GROWTH * INITIAL_WINDOW


def test_a_window_grows_at_once_to_what_another_has_reached() -> None:
    budget = GrowthBudget(64 << 20)
    first, second = ReceiveWindow(budget, 0.0), ReceiveWindow(budget, 0.0)
    consume_for(first, 10.0, 1e9, 1.0)
    second.consume(INITIAL_WINDOW, 0.001, 0.05)
    assert second.size == first.size == LARGEST_WINDOW


def test_where_there_is_no_room_for_as_much_a_window_grows_by_its_own_step() -> None:
    budget = GrowthBudget(LARGEST_WINDOW + (GROWTH - 2) * INITIAL_WINDOW)
    first, second = ReceiveWindow(budget, 0.0), ReceiveWindow(budget, 0.0)
    consume_for(first, 10.0, 1e9, 1.0)
    second.consume(INITIAL_WINDOW, 0.001, 0.05)
    assert (first.size, second.size) == (LARGEST_WINDOW, GROWTH * INITIAL_WINDOW)


def test_what_a_stream_sends_beyond_its_window_is_borrowed_and_given_back_first() -> None:
    spare = SpareCredit(100)
    first, second = SendCredit(spare), SendCredit(spare)
    first.spend(INITIAL_WINDOW + 70)
    assert (first.left, second.left) == (30, INITIAL_WINDOW + 30)
    first.grant(50)
    assert (first.left, spare.left) == (80, 80)
    first.grant(50)
    assert (first.left, spare.left) == (130, 100)


def test_a_stream_that_ends_owes_what_it_borrowed_until_the_receiver_has_let_go_of_it() -> None:
    spare = SpareCredit(100)
    owing, settled = SendCredit(spare), SendCredit(spare)
    owing.spend(INITIAL_WINDOW + 40)
    settled.spend(INITIAL_WINDOW + 60)
    settled.end(3, settled=True)
    owing.end(1, settled=False)
    assert spare.left == 60
    spare.settle(1, 10)
    spare.settle(3, 10)
    assert spare.left == 70
    spare.settle(1, 1000)
    spare.settle(1, 1000)
    assert spare.left == 100
