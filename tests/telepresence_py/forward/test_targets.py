from __future__ import annotations

import pytest

from telepresence_py.forward.targets import loopback_targets, served_ports, targets
from telepresence_py.model.network import PortMap

V4, V6 = "10.244.1.7", "fd00::7"


@pytest.mark.parametrize(
    ("listens_on", "pod", "expected"),
    [
        ([], (V4,), ()),
        (["0.0.0.0"], (V4,), (V4,)),
        ([V4], (V4,), (V4,)),
        (["127.0.0.1"], (V4,), ("127.0.0.1",)),
        (["127.0.0.5"], (V4,), ("127.0.0.5",)),
        (["::1"], (V4, V6), ("::1",)),
        (["::1", "127.0.0.1"], (V4, V6), ("127.0.0.1", "::1")),
        (["127.0.0.1", V4], (V4,), (V4,)),
        (["::"], (V4,), (V4, "::1")),
        (["::"], (V4, V6), (V4, V6)),
        (["::"], (V6,), (V6,)),
        (["0.0.0.0"], (V6,), ("127.0.0.1",)),
        ([V6], (V4, V6), (V6,)),
        (["0.0.0.0", V6], (V4, V6), (V6, V4)),
        (["192.0.2.1"], (V4, V6), ()),
    ],
)
def test_where_a_connection_goes_follows_from_where_the_child_listens(
    listens_on: list[str], pod: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert targets(listens_on, pod) == expected


@pytest.mark.parametrize(
    ("listens_on", "expected"),
    [
        ([], ()),
        (["0.0.0.0"], ("127.0.0.1",)),
        (["::"], ("::1",)),
        (["0.0.0.0", "::"], ("127.0.0.1", "::1")),
        (["127.0.0.5", "0.0.0.0"], ("127.0.0.5", "127.0.0.1")),
        ([V4], (V4,)),
        ([V4, "::1"], ("::1", V4)),
        (["192.0.2.1"], ()),
    ],
)
def test_what_comes_from_loopback_goes_to_loopback_where_the_child_listens_there(
    listens_on: list[str], expected: tuple[str, ...]
) -> None:
    assert loopback_targets(listens_on, (V4, V6)) == expected


def test_addresses_are_compared_not_their_spelling() -> None:
    assert targets(["fd00:0::7"], ("fd00::0007",)) == (V6,)


def test_the_pods_ports_are_served_while_the_child_listens_on_theirs() -> None:
    ports = (PortMap(80, 8080), PortMap(9090, 9090), PortMap(7000, 7000))
    listening = {8080: frozenset({"127.0.0.1"}), 9090: frozenset({"192.0.2.1"}), 80: frozenset({"0.0.0.0"})}
    assert served_ports(ports, listening, (V4,)) == {80}
