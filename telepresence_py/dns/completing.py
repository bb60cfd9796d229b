"""Completes short names by the pod's search path, for resolvers that have another one (resolv.conf(5))."""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from telepresence_py.dns import wire
from telepresence_py.dns.search import SearchPath

Answer = Callable[[bytes], Awaitable[bytes | None]]
_CODE = 0xF


@dataclass(frozen=True)
class Completing:
    """`await completing.answer(query)` is what `by_pod` says; of a name short enough for the path, the
    addresses of the first name along the path that there is, as those of the short one. Other records, and
    names that end in a domain of the path already, are not completed."""

    by_pod: Answer
    path: SearchPath

    async def answer(self, query: bytes) -> bytes | None:
        try:
            question = wire.read_question(query)
            for domain in self.path.domains if self._is_short(question) else ():
                longer = await self.by_pod(_asking(query, question, domain))
                if longer is not None and len(longer) > 3 and longer[3] & _CODE == 0:
                    return _as_own(query, question, wire.addresses_told(longer))
        except wire.Malformed:
            pass
        return await self.by_pod(query)

    def _is_short(self, question: wire.Question) -> bool:
        name = question.name.strip(".").lower()
        is_whole = any(name == domain or name.endswith(f".{domain}") for domain in self.path.domains)
        wants_addresses = question.type_number in (wire.A, wire.AAAA)
        return wants_addresses and bool(name) and not is_whole and name.count(".") < self.path.ndots


def _as_own(query: bytes, question: wire.Question, found: Sequence[wire.Told]) -> bytes:
    addresses = dict.fromkeys(each.address for each in found)
    return wire.addresses_answer(query, question, addresses, min((each.seconds for each in found), default=0))


def _asking(query: bytes, question: wire.Question, domain: str) -> bytes:
    """The query for the name behind that domain, without what else it had."""
    labels = b"".join(bytes([len(label)]) + label for label in domain.encode("ascii", "replace").split(b"."))
    name = query[wire.HEADER.size : question.end - 5] + labels + b"\0"
    head = wire.HEADER.pack(question.identity, question.flags, 1, 0, 0, 0)
    return head + name + struct.pack(">HH", question.type_number, 1)
