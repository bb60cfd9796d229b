"""That the kernel takes the rules, and what they do, is shown in test_syn_queue."""

from __future__ import annotations

import errno
import socket
import struct

import pytest

from telepresence_py.isolation.holding import (
    FORBIDDEN,
    NO_HOST,
    NO_NETWORK,
    REFUSED,
    hold_requests,
    mark_of,
    release_requests,
)
from telepresence_py.isolation.nftables import REFUSED_MARK, REFUSED_MASK, Capture

V4, ALSO_V4 = bytes([10, 1, 1, 1]), bytes([10, 1, 1, 2])


def rules(capture: Capture, by_xtables: bool = False) -> list[tuple[str, bytes]]:
    requests = hold_requests(capture, by_xtables)
    return [(request.what, request.body) for request in requests if "rule" in request.what]


@pytest.mark.parametrize(
    ("error", "mark"),
    [
        (errno.ECONNREFUSED, REFUSED),
        (errno.EHOSTUNREACH, NO_HOST),
        (errno.ENETUNREACH, NO_NETWORK),
        (errno.ENETDOWN, NO_NETWORK),
        (errno.EACCES, FORBIDDEN),
        (errno.EPERM, NO_HOST),
    ],
)
def test_an_errno_is_told_by_a_mark_which_the_capture_leaves_alone(error: int, mark: int) -> None:
    assert mark_of(error) == mark
    assert mark & REFUSED_MASK == REFUSED_MARK


def test_every_rule_that_holds_looks_for_a_first_packet() -> None:
    flags = struct.pack("=HHB", 5, 1, 0x17)
    holding = [
        body
        for what, body in rules(Capture(2, (V4, ALSO_V4), 1, 2, (8081, 8082)))
        if "queue" in what or "socket" in what
    ]
    assert len(holding) == 1 + 4 + 2
    assert all(flags in body for body in holding)


def test_without_an_address_only_loopback_is_held() -> None:
    told = [what for what, _body in rules(Capture(socket.AF_INET6, (), 1, 2))]
    assert [what for what in told if "queue" in what] == ["nftables rule with queue for loopback"]


def test_an_old_kernel_is_asked_in_the_words_of_iptables() -> None:
    capture = Capture(2, (V4,), 1, 2)
    for by_xtables, there, missing in ((False, b"queue\0", b"NFQUEUE"), (True, b"NFQUEUE\0", b"queue\0")):
        queues = [body for what, body in rules(capture, by_xtables) if "queue" in what]
        assert len(queues) == 2
        assert all(there in body and missing not in body for body in queues)


def test_the_table_can_go_again_and_the_capture_stays() -> None:
    (begin, delete, end) = release_requests(2)
    assert (begin.is_answered, delete.is_answered, end.is_answered) == (False, True, False)
    assert b"telepresence-hold\0" in delete.body
