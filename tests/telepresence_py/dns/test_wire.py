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


def record(name: bytes, type_number: int, data: bytes, seconds: int = 30) -> bytes:
    return name + struct.pack(">HHIH", type_number, 1, seconds, len(data)) + data


def answer_with(query: bytes, answers: list[bytes], additions: tuple[bytes, ...] = ()) -> bytes:
    head = wire.HEADER.pack(0x9999, 0x8180, 1, len(answers), 0, len(additions))
    return head + query[wire.HEADER.size :] + b"".join((*answers, *additions))


POINTER = b"\xc0\x0c"
A_DATA, AAAA_DATA = b"\x0a\x00\x00\x05", b"\xfd" + bytes(14) + b"\x05"


def test_the_addresses_of_an_answer_are_told_with_the_name_and_their_time() -> None:
    answer = answer_with(
        query_for("db.example"), [record(POINTER, 1, A_DATA), record(POINTER, 28, AAAA_DATA, 5)]
    )
    assert wire.addresses_told(answer) == [("db.example", "10.0.0.5", 30), ("db.example", "fd00::5", 5)]


def test_every_name_along_a_chain_of_aliases_has_the_address() -> None:
    alias = record(POINTER, 5, b"\4real\xc0\x0f")  # real.example: the question's name from its second label
    answer = answer_with(query_for("db.example"), [alias, record(b"\4real\xc0\x0f", 1, A_DATA)])
    assert {told.name for told in wire.addresses_told(answer)} == {"db.example", "real.example"}


def test_an_address_beside_the_answer_is_its_own_names_alone() -> None:
    service = record(POINTER, 33, struct.pack(">HHH", 0, 0, 80) + b"\4peer\0")
    answer = answer_with(query_for("_http.peer", 33), [service], (record(b"\4peer\0", 1, A_DATA),))
    assert wire.addresses_told(answer) == [("peer", "10.0.0.5", 30)]


def test_an_answer_without_addresses_tells_none() -> None:
    assert wire.addresses_told(answer_to(query_for("a"))) == []


def test_an_answer_that_is_cut_off_or_winds_is_malformed() -> None:
    whole = answer_with(query_for("db.example"), [record(POINTER, 1, A_DATA)])
    for end in range(len(whole)):
        with pytest.raises(wire.Malformed):
            wire.addresses_told(whole[:end])
    for winding in (b"\xc0\x1c", b"\xff\xff", b"\x80"):  # to itself, forward, of an unknown kind
        with pytest.raises(wire.Malformed):
            wire.addresses_told(answer_with(query_for("db.example"), [record(winding, 1, A_DATA)]))


def test_an_answer_of_our_own_has_the_addresses_that_were_asked_for() -> None:
    for type_number, expected in ((1, ["10.0.0.5", "10.0.0.6"]), (28, ["fd00::5"]), (33, [])):
        query = query_for("db.example", type_number)
        question = wire.read_question(query)
        answer = wire.addresses_answer(query, question, ["10.0.0.5", "fd00::5", "10.0.0.6"], 5)
        assert wire.for_asker(query, question, answer) == answer
        assert [told.address for told in wire.addresses_told(answer)] == expected
        assert answer[3] & 0xF == 0
