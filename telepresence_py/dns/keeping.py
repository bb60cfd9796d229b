"""PURE: answers of name servers, kept for as long as they say that they hold (RFC 1035, RFC 2181, RFC 2308).

An answer is kept for exactly the question that had it: every byte of the query but its identity. Another
spelling, another flag, another size that the asker takes is another question.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

from telepresence_py.dns.wire import (
    HEADER,
    IS_RESPONSE,
    NO_SUCH_NAME,
    OPCODE,
    OPT,
    TRUNCATED,
    Malformed,
    skip_name,
)

LONGEST_SECONDS = 3600
"""Nothing is kept longer, whatever it says."""

MOST_BYTES = 1 << 20
_ENTRY_BYTES = 300
"""What an entry costs besides its own bytes, roughly."""

SOA = 6
ANY = 255
_SIGNATURES_AND_TRANSFERS = range(249, 255)  # of the question types, those that are about no lasting record


class AnswerStore:
    """Answers by question, those used last the longest when there are too many. Times are in seconds of one
    clock that goes on while the laptop sleeps."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, query: bytes, now: float) -> bytes | None:
        """The answer with this query's identity, its records as much older as they are."""
        kept = self._kept.get(query[2:])
        if kept is None:
            return None
        age = now - kept.since
        if not 0 <= age < kept.seconds:
            self._forget(query[2:])
            return None
        self._kept.move_to_end(query[2:])
        return query[:2] + aged(kept.answer, int(age))[2:]

    def put(self, query: bytes, answer: bytes, now: float) -> None:
        """Keeps what may be kept; anything else leaves what was kept before."""
        seconds = seconds_to_keep(query, answer)
        if seconds <= 0:
            return
        self._forget(query[2:])
        self._kept[query[2:]] = _Kept(answer, now, seconds)
        self._bytes += _size(query[2:], answer)
        while self._bytes > self._most_bytes:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: bytes) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._bytes -= _size(key, kept.answer)


class _Kept(NamedTuple):
    answer: bytes
    since: float
    seconds: int


def _size(key: bytes, answer: bytes) -> int:
    return len(key) + len(answer) + _ENTRY_BYTES


def seconds_to_keep(query: bytes, answer: bytes) -> int:
    """0 for what must not be kept: failures, what is truncated, denials that do not say how long they hold,
    and answers to anything but a plain question."""
    try:
        return min(_seconds(query, answer), LONGEST_SECONDS)
    except (Malformed, struct.error):
        return 0


def aged(answer: bytes, seconds: int) -> bytes:
    """The answer as it reads so many seconds later: every record holds for so much less."""
    if seconds <= 0:
        return answer
    changed = bytearray(answer)
    for record in _records(answer):
        if record.type_number != OPT:
            struct.pack_into(">I", changed, record.place, max(0, record.seconds - seconds))
    return bytes(changed)


def is_plain(query: bytes) -> bool:
    """One standard question about lasting records, and nothing beside it but an OPT record without options:
    a cookie or a signature makes a question unlike any other."""
    try:
        _, flags, *counts = HEADER.unpack_from(query)
        if flags & (IS_RESPONSE | OPCODE) or counts[:3] != [1, 0, 0]:
            return False
        end = skip_name(query, HEADER.size) + 4
        type_number, class_number = struct.unpack_from(">HH", query, end - 4)
        if class_number != 1 or type_number in _SIGNATURES_AND_TRANSFERS:
            return False
        if counts[3] == 0:
            return len(query) == end
        kind, _, _, length = struct.unpack_from(">HHIH", query, end + 1)
        return counts[3] == 1 and query[end] == 0 and kind == OPT and not length and len(query) == end + 11
    except (Malformed, struct.error, IndexError):
        return False


def is_about(query: bytes, answer: bytes) -> bool:
    """Whether the answer repeats the query's question, in whatever spelling. Malformed when the query has
    none."""
    end = skip_name(query, HEADER.size) + 4
    return answer[HEADER.size : end].lower() == query[HEADER.size : end].lower()


class _Record(NamedTuple):
    section: int
    type_number: int
    seconds: int
    place: int
    """Where `seconds` stand in the message."""
    end: int


def _seconds(query: bytes, answer: bytes) -> int:
    _, flags, questions, *_ = HEADER.unpack_from(answer)
    code = flags & 0xF
    if not is_plain(query) or flags & (OPCODE | TRUNCATED) or not flags & IS_RESPONSE or questions != 1:
        return 0
    if not is_about(query, answer) or code not in (0, NO_SUCH_NAME):
        return 0
    end = skip_name(query, HEADER.size) + 4
    asked = struct.unpack_from(">H", query, end - 4)[0]
    records = list(_records(answer))
    if any(record.type_number == OPT and record.seconds >> 24 for record in records):  # more of the code
        return 0
    holding = [record.seconds for record in records if record.type_number != OPT]
    found = [record for record in records if record.section == 0 and asked in (record.type_number, ANY)]
    if code == NO_SUCH_NAME or not found:
        # RFC 2308, 5: a denial holds as long as the authority's last field says
        authority = [each for each in records if each.section == 1 and each.type_number == SOA]
        if not authority:
            return 0
        holding.append(struct.unpack_from(">I", answer, authority[0].end - 4)[0])
    return min(_lasting(seconds) for seconds in holding)


def _lasting(seconds: int) -> int:
    """RFC 2181, 8: with the first bit set it is none at all."""
    return 0 if seconds >> 31 else seconds


def _records(message: bytes) -> Iterator[_Record]:
    """All behind the questions. Malformed or struct.error when the message is cut off."""
    questions, *counts = HEADER.unpack_from(message)[2:]
    offset = HEADER.size
    for _ in range(questions):
        offset = skip_name(message, offset) + 4
    for section, count in enumerate(counts):
        for _ in range(count):
            offset = skip_name(message, offset)
            type_number, _, seconds, length = struct.unpack_from(">HHIH", message, offset)
            end = offset + 10 + length
            if end > len(message):
                raise Malformed("a record is cut off")
            yield _Record(section, type_number, seconds, offset + 4, end)
            offset = end
