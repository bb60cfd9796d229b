from __future__ import annotations

from benchmarks.loss import rules


def test_packets_of_both_directions_are_lost_on_loopback_alone():
    lines = rules("ours", [7000, 7001], 0.5).splitlines()
    dropping = [line for line in lines if line.startswith("add rule")]
    assert len(dropping) == 4
    assert all('iif "lo"' in line and line.endswith("numgen random mod 10000 < 50 drop") for line in dropping)
    assert {line.split(" tcp ")[1].split(" numgen")[0] for line in dropping} == {
        "dport 7000",
        "sport 7000",
        "dport 7001",
        "sport 7001",
    }


def test_the_table_ends_with_its_owner():
    assert rules("ours", [7000], 1).startswith("add table inet ours { flags owner; }")
