"""That the kernel takes the rules, and what they do, is shown in test_network."""

from __future__ import annotations

import struct

from telepresence_py.isolation.nftables import Capture, capture_requests

V4, ALSO_V4 = bytes([10, 1, 1, 1]), bytes([10, 1, 1, 2])


def test_a_batch_encloses_the_requests_and_is_not_answered() -> None:
    requests = capture_requests(Capture(2, (V4,), 64998, 64999))
    assert [request.is_answered for request in requests] == [False, *[True] * (len(requests) - 2), False]


def test_without_an_address_only_loopback_is_captured() -> None:
    requests = capture_requests(Capture(10, (), 64998, 64999))
    rules = [request for request in requests if "rule" in request.what and "mark" not in request.what]
    assert len(rules) == 2
    assert all(bytes(15) + b"\x01" in rule.body for rule in rules)


def test_each_port_of_a_helper_is_captured_at_each_address_of_the_pod() -> None:
    requests = capture_requests(Capture(2, (V4, ALSO_V4), 64998, 64999, (8081, 8082)))
    rules = [request for request in requests if request.what == "nftables rule with tproxy for a helper"]
    assert len(rules) == 8
    assert sum(struct.pack(">H", 8082) in rule.body and V4 in rule.body for rule in rules) == 2  # TCP and UDP


def test_every_address_of_the_pod_is_left_alone() -> None:
    requests = capture_requests(Capture(2, (V4, ALSO_V4), 64998, 64999))
    captured = [request for request in requests if request.what == "nftables rule with tproxy"]
    assert len(captured) == 2  # TCP and UDP
    assert all(V4 in rule.body and ALSO_V4 in rule.body for rule in captured)
    assert all(struct.pack(">H", 64998) in rule.body for rule in captured)
