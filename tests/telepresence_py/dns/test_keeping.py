from __future__ import annotations

import struct

import pytest

from telepresence_py.dns.keeping import LONGEST_SECONDS, AnswerStore, aged, is_plain, seconds_to_keep
from telepresence_py.dns.wire import HEADER, read_question
from tests.telepresence_py.dns.test_wire import query_for

QUERY = query_for("www.example")
POINTER = b"\xc0\x0c"
A, CNAME, SOA, AAAA, OPT = 1, 5, 6, 28, 41
DENIED = 3
NAMES = b"\x01a\x00" * 2


def record(type_number: int, seconds: int, data: bytes = bytes(4), name: bytes = POINTER) -> bytes:
    return name + struct.pack(">HHIH", type_number, 1, seconds, len(data)) + data


def soa(seconds: int, minimum: int) -> bytes:
    return record(SOA, seconds, NAMES + struct.pack(">5I", 1, 2, 3, 4, minimum))


def answer(*sections: list[bytes], query: bytes = QUERY, code: int = 0, more_flags: int = 0) -> bytes:
    """`sections` are answers, authorities and additions."""
    counts = [len(section) for section in (*sections, [], [], [])[:3]]
    header = HEADER.pack(0x1234, 0x8180 | more_flags | code, 1, *counts)
    question = query[HEADER.size : read_question(query).end]
    return header + question + b"".join(each for section in sections for each in section)


def test_an_answer_holds_as_long_as_its_shortest_record() -> None:
    chain = [record(CNAME, 60, b"\x01b\x00"), record(A, 7), record(A, 9)]
    assert seconds_to_keep(QUERY, answer(chain)) == 7
    assert seconds_to_keep(QUERY, answer(chain, [], [record(A, 3)])) == 3


@pytest.mark.parametrize("code", [0, DENIED])
@pytest.mark.parametrize(("seconds", "minimum", "held"), [(30, 5, 5), (5, 30, 5), (0, 30, 0)])
def test_a_denial_holds_as_long_as_its_authority_says(
    code: int, seconds: int, minimum: int, held: int
) -> None:
    assert seconds_to_keep(QUERY, answer([], [soa(seconds, minimum)], code=code)) == held


def test_an_alias_to_what_does_not_exist_is_a_denial() -> None:
    alias = [record(CNAME, 20, b"\x01b\x00")]
    assert seconds_to_keep(QUERY, answer(alias, [soa(60, 10)])) == 10
    assert seconds_to_keep(QUERY, answer(alias)) == 0


@pytest.mark.parametrize(
    "unkept",
    [
        answer([], code=DENIED),
        answer([], [record(2, 60)]),
        answer([record(A, 0)]),
        answer([record(A, 1 << 31)]),
        answer([record(A, 60)], code=2),
        answer([record(A, 60)], code=5),
        answer([record(A, 60)], more_flags=0x0200),
        answer([record(A, 60)], [], [record(OPT, 1 << 24, b"", b"\0")]),
        answer([record(A, 60)], query=query_for("www.other")),
        answer([record(A, 60)])[:-1],
        QUERY,
        b"",
    ],
    ids=[
        "denied without an authority",
        "a referral",
        "for no time",
        "a negative time",
        "a failure",
        "refused",
        "truncated",
        "an extended failure",
        "to another question",
        "cut off",
        "a query",
        "nothing",
    ],
)
def test_what_must_not_be_kept_is_not(unkept: bytes) -> None:
    assert seconds_to_keep(QUERY, unkept) == 0


def test_nothing_is_kept_for_days() -> None:
    assert seconds_to_keep(QUERY, answer([record(A, 1 << 30)])) == LONGEST_SECONDS


def test_the_sizes_of_edns_are_no_time() -> None:
    query = query_for("www.example", udp_size=1232)
    edns = answer([record(A, 60)], [], [record(OPT, 0x8000, b"", b"\0")], query=query)
    assert seconds_to_keep(query, edns) == 60
    assert aged(edns, 20) == answer([record(A, 40)], [], [record(OPT, 0x8000, b"", b"\0")], query=query)


def test_only_plain_questions_have_an_answer_that_others_may_have() -> None:
    edns = query_for("www.example", udp_size=1232)
    cookie = edns[:-2] + struct.pack(">HHH8x", 12, 10, 8)
    signed = QUERY[:10] + b"\0\1" + QUERY[12:] + b"\0" + struct.pack(">HHIH", 250, 255, 0, 0)
    update = QUERY[:2] + b"\x28\0" + QUERY[4:]
    chaos = QUERY[:-1] + b"\3"
    assert is_plain(QUERY)
    assert is_plain(edns)
    unlike_others = [
        cookie,
        signed,
        update,
        chaos,
        query_for("a", 252),
        QUERY + b"!",
        QUERY[:-1],
        edns[:-1],
        b"",
    ]
    assert not any(map(is_plain, unlike_others))
    assert not any(seconds_to_keep(query, answer([record(A, 60)])) for query in unlike_others)


def test_a_kept_answer_grows_old_and_has_the_askers_identity() -> None:
    store = AnswerStore()
    told = answer([record(A, 10), record(A, 30)])
    store.put(QUERY, told, now=100.0)
    again = b"\x77\x77" + QUERY[2:]
    assert store.get(again, 100.9) == b"\x77\x77" + told[2:]
    assert store.get(again, 104.5) == b"\x77\x77" + answer([record(A, 6), record(A, 26)])[2:]
    assert store.get(again, 110.0) is None
    assert len(store) == 0


@pytest.mark.parametrize(
    "other", [query_for("WWW.example"), query_for("www.example", 28), QUERY[:3] + b"\x10" + QUERY[4:]]
)
def test_another_spelling_type_or_flag_is_another_question(other: bytes) -> None:
    store = AnswerStore()
    store.put(QUERY, answer([record(A, 10)]), 0.0)
    assert store.get(other, 0.0) is None


def test_a_clock_that_went_back_makes_nothing_younger() -> None:
    store = AnswerStore()
    store.put(QUERY, answer([record(A, 10)]), 100.0)
    assert store.get(QUERY, 99.0) is None


def test_too_many_push_out_what_was_used_longest_ago() -> None:
    store = AnswerStore(most_bytes=1100)
    queries = [query_for(f"n{number}") for number in range(4)]
    for query in queries[:3]:
        store.put(query, answer([record(A, 60)], query=query), 0.0)
    assert store.get(queries[0], 1.0)
    store.put(queries[3], answer([record(A, 60)], query=queries[3]), 2.0)
    assert [store.get(query, 3.0) is not None for query in queries] == [True, False, True, True]


def test_one_that_alone_is_too_large_is_not_kept() -> None:
    store = AnswerStore(most_bytes=1000)
    store.put(QUERY, answer([record(16, 60, bytes(900)), record(A, 60)]), 0.0)
    assert len(store) == 0
    store.put(QUERY, answer([record(A, 60)]), 0.0)
    assert len(store) == 1
