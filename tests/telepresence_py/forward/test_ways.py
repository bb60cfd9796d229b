from __future__ import annotations

import pytest

from telepresence_py.forward import ways as module
from telepresence_py.forward.packets import Endpoint
from telepresence_py.forward.ways import LEAST_SECONDS, Ways
from telepresence_py.model.rules import Rule, Way


def laptop(host: str, port: int | None = None) -> Rule:
    return Rule(Way.LAPTOP, host, port)


def never(host: str, port: int | None = None) -> Rule:
    return Rule(Way.NEVER, host, port)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def decides(ways: Ways, address: str, port: int = 443) -> Rule | None:
    return ways.deciding(Endpoint(address, port))


def test_without_a_rule_nothing_decides() -> None:
    assert decides(Ways([laptop("10.0.0.0/8"), never("fd00::/8")]), "192.0.2.1") is None
    assert decides(Ways([]), "192.0.2.1") is None


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        (laptop("10.0.0.0/8"), never("10.1.0.0/16")),
        (never("10.0.0.0/8"), laptop("10.1.2.3/32")),
        (never("0.0.0.0/0", 443), laptop("10.1.0.0/16")),
        (never("10.1.2.3/32"), laptop("10.1.2.3/32", 443)),
        (laptop("10.1.2.0/24"), laptop("10.1.2.0/24", 443)),
    ],
)
def test_the_narrower_of_two_decides_whichever_way_it_says(wide: Rule, narrow: Rule) -> None:
    for order in ([wide, narrow], [narrow, wide]):
        assert decides(Ways(order), "10.1.2.3") == narrow


def test_what_only_the_wider_covers_is_its_own() -> None:
    ways = Ways([laptop("10.0.0.0/8"), never("10.1.2.3/32", 5432)])
    assert decides(ways, "10.1.2.3", 443) == laptop("10.0.0.0/8")
    assert decides(ways, "10.1.2.3", 5432) == never("10.1.2.3/32", 5432)


def test_families_do_not_meet() -> None:
    ways = Ways([never("::/0"), laptop("0.0.0.0/0")])
    assert decides(ways, "10.1.2.3") == laptop("0.0.0.0/0")
    assert decides(ways, "fd00::1") == never("::/0")


def test_a_name_holds_for_the_addresses_that_were_learned_for_it() -> None:
    rule = never("db.example", 5432)
    ways = Ways([rule])
    assert decides(ways, "10.1.2.3", 5432) is None
    ways.learn(rule, "10.1.2.3", 30)
    ways.learn(rule, "FD00:0::3", 30)
    assert decides(ways, "10.1.2.3", 5432) == rule
    assert decides(ways, "fd00::3", 5432) == rule
    assert decides(ways, "10.1.2.3", 80) is None


def test_a_name_is_as_narrow_as_an_address_and_a_suffix_less_but_more_than_a_network() -> None:
    name, suffix, longer = laptop("nas.corp.example"), never("*.example"), never("*.corp.example")
    network, address = laptop("10.1.2.0/24"), never("10.1.2.9/32")
    ways = Ways([name, suffix, longer, network, address])
    for rule in (suffix, longer):
        for last in (1, 2, 9):
            ways.learn(rule, f"10.1.2.{last}", 30)
    ways.learn(name, "10.1.2.2", 30)
    ways.learn(name, "10.1.2.9", 30)
    assert decides(ways, "10.1.2.1") == longer
    assert decides(ways, "10.1.2.2") == name
    assert decides(ways, "10.1.2.9") == address, "of equals, never"
    assert decides(ways, "10.1.2.3") == network


def test_of_two_names_with_one_address_never_decides() -> None:
    kept, refused = laptop("a.example"), never("b.example")
    ways = Ways([kept, refused])
    ways.learn(kept, "10.1.2.3", 30)
    assert decides(ways, "10.1.2.3") == kept
    ways.learn(refused, "10.1.2.3", 30)
    assert decides(ways, "10.1.2.3") == refused


def test_an_address_is_forgotten_when_its_time_is_over_but_not_before_the_least() -> None:
    rule, clock = never("db.example"), Clock()
    ways = Ways([rule], clock)
    ways.learn(rule, "10.1.2.3", 5)
    ways.learn(rule, "10.1.2.4", LEAST_SECONDS + 10)
    clock.now = LEAST_SECONDS
    assert decides(ways, "10.1.2.3") is None
    assert decides(ways, "10.1.2.4") == rule


def test_an_address_in_use_is_not_forgotten() -> None:
    rule, clock = never("db.example"), Clock()
    ways = Ways([rule], clock)
    ways.learn(rule, "10.1.2.3", 5)
    for _ in range(3):
        clock.now += LEAST_SECONDS - 1
        assert decides(ways, "10.1.2.3") == rule


def test_a_shorter_time_that_is_told_later_takes_nothing_away() -> None:
    rule, clock = never("db.example"), Clock()
    ways = Ways([rule], clock)
    ways.learn(rule, "10.1.2.3", float("inf"))
    ways.learn(rule, "10.1.2.3", 5)
    clock.now = 10 * LEAST_SECONDS
    assert decides(ways, "10.1.2.3") == rule


def test_of_too_many_addresses_the_one_unused_for_longest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ADDRESSES", 2)
    rule = never("*.example")
    ways = Ways([rule])
    ways.learn(rule, "10.0.0.1", 30)
    ways.learn(rule, "10.0.0.2", 30)
    assert decides(ways, "10.0.0.1") == rule
    ways.learn(rule, "10.0.0.3", 30)
    assert decides(ways, "10.0.0.2") is None
    assert decides(ways, "10.0.0.1") == rule
