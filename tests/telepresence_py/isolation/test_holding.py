"""That the kernel takes the rules, and what they do, is shown in test_syn_queue."""

from __future__ import annotations

import errno
import socket
import struct

import pytest

from telepresence_py.isolation.holding import (
    FORBIDDEN,
    LET_GO,
    NO_HOST,
    NO_NETWORK,
    REFUSED,
    Way,
    hold_requests,
    mark_of,
    release_requests,
)
from telepresence_py.isolation.nftables import REFUSED_MARK, REFUSED_MASK, Capture

V4, ALSO_V4 = bytes([10, 1, 1, 1]), bytes([10, 1, 1, 2])


def rules(capture: Capture, way: Way = Way.QUEUE) -> list[tuple[str, bytes]]:
    requests = hold_requests(capture, way)
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
        if "holds" in what or "socket" in what
    ]
    assert len(holding) == 1 + 4 + 2
    assert all(flags in body for body in holding)


def test_without_an_address_only_loopback_is_held() -> None:
    told = [what for what, _body in rules(Capture(socket.AF_INET6, (), 1, 2))]
    assert [what for what in told if "holds" in what] == ["nftables rule that holds for loopback"]


def test_an_old_kernel_is_asked_in_the_words_of_iptables() -> None:
    capture = Capture(2, (V4,), 1, 2)
    words = {Way.QUEUE: (b"queue\0", b"NFQUEUE"), Way.QUEUE_OF_XTABLES: (b"NFQUEUE\0", b"queue\0")}
    for way, (there, missing) in words.items():
        queues = [body for what, body in rules(capture, way) if "holds" in what]
        assert len(queues) == 2
        assert all(there in body and missing not in body for body in queues)


def test_what_was_logged_is_dropped_and_what_is_sent_again_passes() -> None:
    let_go, refused, *_ = rules(Capture(2, (V4,), 1, 2), Way.LOG)
    holding = [body for what, body in rules(Capture(2, (V4,), 1, 2), Way.LOG) if "holds" in what]
    assert all(b"log\0" in body and b"immediate\0" in body for body in holding)
    assert struct.pack("=I", LET_GO) in let_go[1]
    assert struct.pack("=I", REFUSED_MARK) in refused[1]
    assert LET_GO & REFUSED_MASK != REFUSED_MARK


def test_the_table_can_go_again_and_the_capture_stays() -> None:
    (begin, delete, end) = release_requests(2)
    assert (begin.is_answered, delete.is_answered, end.is_answered) == (False, True, False)
    assert b"telepresence-hold\0" in delete.body
