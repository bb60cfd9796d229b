from __future__ import annotations

from benchmarks.naming import spelled


def test_every_round_spells_the_name_in_another_way():
    spellings = [spelled("outside.example", number) for number in range(100)]
    assert len(set(spellings)) == 100
    assert {each.lower() for each in spellings} == {"outside.example"}
