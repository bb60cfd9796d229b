from __future__ import annotations

import sys

import pytest

from telepresence_py.isolation.listening import bound_ports, listening_ports

pytestmark = pytest.mark.skipif(sys.byteorder != "little", reason="the tables are little-endian")

HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
TAIL = "00000000:00000000 00:00000000 00000000  1000        0 1 1 0 100 0 0 10 0\n"
V4 = (
    HEADER
    + f"   0: 0100007F:1F90 00000000:0000 0A {TAIL}"
    + f"   1: 00000000:0050 00000000:0000 0A {TAIL}"
    + f"   2: 0100007F:0051 0100007F:1F90 01 {TAIL}"
)
V6 = (
    HEADER
    + f"   0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A {TAIL}"
    + f"   1: 000000FD000000000000000007000000:0051 00000000000000000000000000000000:0000 0A {TAIL}"
)


def test_ports_are_told_with_the_addresses_of_both_families() -> None:
    assert listening_ports(V4, V6) == {
        8080: frozenset({"127.0.0.1", "::1"}),
        80: frozenset({"0.0.0.0"}),
        81: frozenset({"fd00::7"}),
    }


def test_an_empty_table_lists_nothing() -> None:
    assert listening_ports("", HEADER) == {}


def test_of_udp_those_that_take_datagrams_from_anybody_are_told() -> None:
    table = (
        HEADER
        + f"   0: 00000000:14E9 00000000:0000 07 {TAIL}"
        + f"   1: 0100007F:1F90 0100007F:0035 01 {TAIL}"
    )
    assert bound_ports(table) == {5353: frozenset({"0.0.0.0"})}
