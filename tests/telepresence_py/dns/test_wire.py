from __future__ import annotations

import struct

import pytest

from telepresence_py.dns import wire


def query_for(name: str, type_number: int = 1, udp_size: int | None = None, identity: int = 0x1234) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    question = labels + b"\0" + struct.pack(">HH", type_number, 1)
    opt = b"" if udp_size is None else b"\0" + struct.pack(">HHIH", 41, udp_size, 0, 0)
    return wire.HEADER.pack(identity, 0x0100, 1, 0, 0, int(bool(opt))) + question + opt


def answer_to(query: bytes, payload: bytes = b"") -> bytes:
    return struct.pack(">H", 0x9999) + struct.pack(">H", 0x8180) + query[4:] + payload


def test_a_question_is_read_with_its_name_and_type() -> None:
    question = wire.read_question(query_for("orders.shop.svc.cluster.local", 28))
    assert str(question) == "orders.shop.svc.cluster.local AAAA"
    assert question.identity == 0x1234


def test_an_unknown_type_is_told_by_its_number() -> None:
    assert str(wire.read_question(query_for("a", 999))) == "a TYPE999"


def test_bytes_that_are_not_ascii_are_shown_escaped() -> None:
    query = query_for("xx.local").replace(b"xx", b"\xff\n")
    assert "\\xff" in str(wire.read_question(query))


def test_an_asker_that_does_not_say_takes_512_bytes() -> None:
    assert wire.read_question(query_for("a")).udp_limit == 512
    assert wire.read_question(query_for("a", udp_size=100)).udp_limit == 512


def test_an_asker_says_by_edns_how_much_it_takes() -> None:
    assert wire.read_question(query_for("a", udp_size=1232)).udp_limit == 1232


def test_edns_is_found_behind_another_record() -> None:
    query = bytearray(query_for("a", udp_size=4096))
    position = wire.read_question(bytes(query)).end
    query[position:position] = b"\xc0\x0c" + struct.pack(">HHIH", 250, 255, 0, 3) + b"abc"
    query[10:12] = struct.pack(">H", 2)
    assert wire.read_question(bytes(query)).udp_limit == 4096


@pytest.mark.parametrize("end", range(12 + 7 + 4))
def test_a_query_cut_anywhere_in_its_question_is_malformed(end: int) -> None:
    with pytest.raises(wire.Malformed):
        wire.read_question(query_for("a.bcd")[:end])


@pytest.mark.parametrize("end", range(24, 34))
def test_a_query_cut_behind_its_question_passes(end: int) -> None:
    assert wire.read_question(query_for("a.bcd", udp_size=1232)[:end]).udp_limit == 512


def test_a_response_is_no_query() -> None:
    with pytest.raises(wire.Malformed):
        wire.read_question(answer_to(query_for("a")))


def test_a_name_that_points_to_itself_is_malformed() -> None:
    with pytest.raises(wire.Malformed):
        wire.read_question(query_for("a")[:12] + b"\xc0\x0c" + struct.pack(">HH", 1, 1))


def test_a_failure_repeats_the_question_and_its_identity() -> None:
    query = query_for("a.b", udp_size=1232)
    answer = wire.failure(query, wire.read_question(query))
    assert answer[:2] == query[:2]
    assert answer[2:4] == b"\x81\x82"
    assert answer[12:] == query[12:23][: len(answer) - 12]
    assert struct.unpack(">HHHH", answer[4:12]) == (1, 0, 0, 0)


def test_an_answer_gets_the_askers_identity() -> None:
    query = query_for("a")
    answer = wire.for_asker(query, wire.read_question(query), answer_to(query, b"rest"))
    assert answer == query[:2] + answer_to(query, b"rest")[2:]


def test_an_answer_larger_than_the_asker_takes_is_cut_and_says_so() -> None:
    query = query_for("a", udp_size=1232)
    question = wire.read_question(query)
    assert len(wire.for_asker(query, question, answer_to(query).ljust(1232, b"."))) == 1232
    cut = wire.for_asker(query, question, answer_to(query).ljust(1233, b"."))
    assert len(cut) == question.end
    assert struct.unpack(">H", cut[2:4])[0] & wire.TRUNCATED


def test_what_is_no_response_is_not_passed_on() -> None:
    query = query_for("a")
    for answer in (b"", b"short", query):
        with pytest.raises(wire.Malformed):
            wire.for_asker(query, wire.read_question(query), answer)
