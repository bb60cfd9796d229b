"""PURE: as much of the DNS message format (RFC 1035, RFC 6891) as a forwarder needs.

Messages pass through unread but for the header, the first question and the size that an asker can take; and,
where rules name names, for the addresses that an answer tells.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

HEADER = struct.Struct(">HHHHHH")
PLAIN_LIMIT = 512
"""What an asker takes over UDP when it does not say otherwise (RFC 1035, 4.2.1)."""

OVER_TCP = 65535
"""What an asker takes over TCP."""

SERVER_FAILURE, NO_SUCH_NAME = 2, 3
IS_RESPONSE, RECURSION_DESIRED, RECURSION_AVAILABLE, TRUNCATED = 0x8000, 0x0100, 0x0080, 0x0200
OPCODE = 0x7800
OPT = 41
A, CNAME, AAAA = 1, 5, 28
_FAMILIES = {A: socket.AF_INET, AAAA: socket.AF_INET6}
_SIZES = {A: 4, AAAA: 16}
_INTERNET = 1
_TO_QUESTION = b"\xc0\x0c"  # a compressed name: that of the question

TYPES = {1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV"}


class Malformed(ValueError):
    """Not a DNS message, or cut off."""


@dataclass(frozen=True)
class Question:
    """The first question of a query. `end` is where it ends in the message.

    `udp_limit` is the largest answer over UDP that the asker takes, in bytes.
    """

    identity: int
    flags: int
    name: str
    type_number: int
    end: int
    udp_limit: int

    def __str__(self) -> str:
        return f"{self.name} {TYPES.get(self.type_number, f'TYPE{self.type_number}')}"


def read_question(query: bytes) -> Question:
    """Raises Malformed when the message is not a query with exactly one question."""
    if len(query) < HEADER.size:
        raise Malformed("shorter than a header")
    identity, flags, questions, answers, authorities, additions = HEADER.unpack_from(query)
    if flags & IS_RESPONSE:
        raise Malformed("a response, not a query")
    if questions != 1:
        raise Malformed(f"{questions} questions")
    name, offset = _read_name(query, HEADER.size)
    if offset + 4 > len(query):
        raise Malformed("the question is cut off")
    type_number = struct.unpack_from(">H", query, offset)[0]
    end = offset + 4
    limit = _udp_limit(query, end, answers + authorities + additions)
    return Question(identity, flags, name, type_number, end, limit)


def failure(query: bytes, question: Question, code: int = SERVER_FAILURE) -> bytes:
    """The answer that says that there is none."""
    return _answer_head(query, question, code)


def for_asker(query: bytes, question: Question, answer: bytes) -> bytes:
    """The answer with the query's identity; cut to the question, marked as truncated, when it is too large.

    The asker then comes again over TCP (RFC 7766). Raises Malformed when `answer` is not a response.
    """
    if len(answer) < HEADER.size:
        raise Malformed("the answer is shorter than a header")
    flags = HEADER.unpack_from(answer)[1]
    if not flags & IS_RESPONSE:
        raise Malformed("the answer is not a response")
    if len(answer) > question.udp_limit:
        return _answer_head(query, question, flags & 0xF, TRUNCATED)
    return query[:2] + answer[2:]


class Told(NamedTuple):
    """A name has this address, for so long."""

    name: str
    address: str
    seconds: int


def addresses_told(answer: bytes) -> list[Told]:
    """Every address that an answer tells, of every name: those along a chain of aliases have its addresses.

    Raises Malformed.
    """
    if len(answer) < HEADER.size:
        raise Malformed("the answer is shorter than a header")
    questions, answers, authorities, additions = HEADER.unpack_from(answer)[2:]
    try:
        offset = HEADER.size
        asked: list[str] = []
        for _ in range(questions):
            name, offset = _expand_name(answer, offset)
            asked.append(name)
            offset += 4
        records = list(_records(answer, offset, answers + authorities + additions))
    except struct.error as error:
        raise Malformed("a record is cut off") from error
    aliases = [record.name for record in records[:answers] if record.type_number == CNAME]
    told = []
    for number, record in enumerate(records):
        if (address := record.address()) is not None:
            names = {*asked, *aliases, record.name} if number < answers else {record.name}
            told += [Told(name, address, record.seconds) for name in sorted(names)]
    return told


def addresses_answer(query: bytes, question: Question, addresses: Iterable[str], seconds: int) -> bytes:
    """The answer that the name has exactly these addresses; none of them when it was asked for others."""
    records = []
    for address in addresses:
        type_number = AAAA if ":" in address else A
        if type_number == question.type_number:
            packed = socket.inet_pton(_FAMILIES[type_number], address)
            fields = struct.pack(">HHIH", type_number, _INTERNET, seconds, len(packed))
            records.append(_TO_QUESTION + fields + packed)
    return b"".join((_answer_head(query, question, 0, answers=len(records)), *records))


class _Record(NamedTuple):
    name: str
    type_number: int
    seconds: int
    data: bytes

    def address(self) -> str | None:
        if len(self.data) != _SIZES.get(self.type_number):
            return None
        return socket.inet_ntop(_FAMILIES[self.type_number], self.data)


def _records(message: bytes, offset: int, count: int) -> Iterator[_Record]:
    for _ in range(count):
        name, offset = _expand_name(message, offset)
        type_number, _class, seconds, length = struct.unpack_from(">HHIH", message, offset)
        offset += 10
        data = message[offset : offset + length]
        if len(data) < length:
            raise Malformed("a record is cut off")
        offset += length
        yield _Record(name, type_number, seconds, data)


def _answer_head(query: bytes, question: Question, code: int, more_flags: int = 0, answers: int = 0) -> bytes:
    kept = question.flags & (OPCODE | RECURSION_DESIRED)
    flags = IS_RESPONSE | RECURSION_AVAILABLE | kept | more_flags | code
    return HEADER.pack(question.identity, flags, 1, answers, 0, 0) + query[HEADER.size : question.end]


def _read_name(message: bytes, offset: int) -> tuple[str, int]:
    """The name at `offset` and where it ends; a question's name is never compressed (nothing precedes it)."""
    labels: list[str] = []
    while True:
        if offset >= len(message):
            raise Malformed("the name is cut off")
        length = message[offset]
        offset += 1
        if length == 0:
            return ".".join(labels) or ".", offset
        if length > 63:
            raise Malformed("a compressed name in the question")
        labels.append(message[offset : offset + length].decode("ascii", "backslashreplace"))
        offset += length


def _expand_name(message: bytes, offset: int) -> tuple[str, int]:
    """The possibly compressed name at `offset`, and where it ends there. A pointer leads back only, so that
    there is an end (RFC 1035, 4.1.4)."""
    labels: list[str] = []
    end = None
    earliest = offset
    while True:
        if offset >= len(message):
            raise Malformed("the name is cut off")
        length = message[offset]
        if length >= 0xC0:
            target = struct.unpack_from(">H", message, offset)[0] & 0x3FFF
            if target >= earliest:
                raise Malformed("a compressed name leads forward")
            end = offset + 2 if end is None else end
            offset = earliest = target
        elif length > 63:
            raise Malformed("an unknown kind of label")
        elif length == 0:
            return ".".join(labels) or ".", offset + 1 if end is None else end
        else:
            labels.append(message[offset + 1 : offset + 1 + length].decode("ascii", "backslashreplace"))
            offset += 1 + length


def skip_name(message: bytes, offset: int) -> int:
    """Where the possibly compressed name at `offset` ends."""
    while offset < len(message):
        length = message[offset]
        if length >= 0xC0:
            return offset + 2
        offset += 1 + length
        if length == 0:
            return offset
    raise Malformed("the name is cut off")


def _udp_limit(query: bytes, offset: int, records: int) -> int:
    """The payload size of the OPT record behind the question (RFC 6891, 6.2.3), at least PLAIN_LIMIT."""
    try:
        for _ in range(records):
            offset = skip_name(query, offset)
            type_number, size, _, length = struct.unpack_from(">HHIH", query, offset)
            if type_number == OPT:
                return max(PLAIN_LIMIT, int(size))
            offset += 10 + length
    except (Malformed, struct.error):
        pass  # the pod's name server shall judge what follows the question; here only the size is missed
    return PLAIN_LIMIT
