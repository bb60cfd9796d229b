from __future__ import annotations

from telepresence_py.forward.flows import IdleTable


def test_an_entry_lives_until_it_was_unused_for_the_whole_time() -> None:
    table: IdleTable[str, str] = IdleTable(most=9, idle_seconds=60)
    assert table.add("a", "A", now=0) == []
    assert table.use("a", now=50) == "A"
    assert table.expire(now=109.9) == []
    assert table.expire(now=110) == ["A"]
    assert table.use("a", now=110) is None


def test_of_too_many_the_one_unused_for_longest_goes() -> None:
    table: IdleTable[str, str] = IdleTable(most=2, idle_seconds=60)
    table.add("a", "A", now=0)
    table.add("b", "B", now=1)
    table.use("a", now=2)
    assert table.add("c", "C", now=3) == ["B"]
    assert len(table) == 2


def test_an_entry_that_is_added_again_gives_back_the_old_one() -> None:
    table: IdleTable[str, str] = IdleTable(most=2, idle_seconds=60)
    table.add("a", "A", now=0)
    assert table.add("a", "A2", now=1) == ["A"]
    assert table.use("a", now=1) == "A2"


def test_what_was_removed_is_gone_and_removing_twice_is_fine() -> None:
    table: IdleTable[str, str] = IdleTable(most=2, idle_seconds=60)
    table.add("a", "A", now=0)
    assert table.remove("a") == ["A"]
    assert table.remove("a") == []
    assert table.expire(now=999) == []


def test_clearing_gives_back_all() -> None:
    table: IdleTable[str, str] = IdleTable(most=2, idle_seconds=60)
    table.add("a", "A", now=0)
    table.add("b", "B", now=0)
    assert sorted(table.clear()) == ["A", "B"]
    assert len(table) == 0
