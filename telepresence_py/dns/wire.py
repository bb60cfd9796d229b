"""PURE: as much of the DNS message format (RFC 1035, RFC 6891) as a forwarder needs.

Messages pass through unread but for the header, the first question and the size that an asker can take.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

HEADER = struct.Struct(">HHHHHH")
PLAIN_LIMIT = 512
"""What an asker takes over UDP when it does not say otherwise (RFC 1035, 4.2.1)."""

SERVER_FAILURE = 2
IS_RESPONSE, RECURSION_DESIRED, RECURSION_AVAILABLE, TRUNCATED = 0x8000, 0x0100, 0x0080, 0x0200
OPCODE = 0x7800
OPT = 41

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


def _answer_head(query: bytes, question: Question, code: int, more_flags: int = 0) -> bytes:
    kept = question.flags & (OPCODE | RECURSION_DESIRED)
    flags = IS_RESPONSE | RECURSION_AVAILABLE | kept | more_flags | code
    return HEADER.pack(question.identity, flags, 1, 0, 0, 0) + query[HEADER.size : question.end]


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


def _skip_name(message: bytes, offset: int) -> int:
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
            offset = _skip_name(query, offset)
            type_number, size, _, length = struct.unpack_from(">HHIH", query, offset)
            if type_number == OPT:
                return max(PLAIN_LIMIT, int(size))
            offset += 10 + length
    except (Malformed, struct.error):
        pass  # the pod's name server shall judge what follows the question; here only the size is missed
    return PLAIN_LIMIT
