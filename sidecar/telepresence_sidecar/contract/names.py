"""A question for the pod's name servers, and the names to ask for after it while there is no such name. Pure.

A resolver walks its search path name by name and would pay the way to the pod for each. The laptop therefore
says with the first question how the path goes on, and the pod goes on by itself, as a resolver there would.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .frames import Kind, Opening

HEADER_BYTES = 12
MOST_FURTHER = 32
"""As many domains as Kubernetes lets a search path have."""

_AS_UDP_GIVES_IT = 1
_LONGEST_NAME = 255


@dataclass(frozen=True)
class Inquiry:
    """`query` is a whole DNS message. After it, while names do not exist, those are asked for that have the
    first `kept` labels of its name before each of `further` ("." for nothing behind them).

    With `whole` an answer that UDP truncates is asked for again over TCP; without it the asker has it as it
    is.
    """

    query: bytes
    kept: int = 0
    further: tuple[str, ...] = ()
    whole: bool = True

    def opening(self) -> Opening:
        """Older sidecars read the query alone, and ask for that one name. Names that do not fit are left
        out."""
        said = ""
        for domain in self.further[:MOST_FURTHER]:
            longer = f"{said} {domain}".strip()
            if len(longer.encode()) > 255:
                break
            said = longer
        return Opening(Kind.DNS, said, self.kept, 0 if self.whole else _AS_UDP_GIVES_IT, rest=self.query)

    @classmethod
    def of(cls, opening: Opening) -> Inquiry:
        further = tuple(opening.host.split(" ")[:MOST_FURTHER]) if opening.host else ()
        return cls(opening.rest, opening.port, further, opening.peer_port != _AS_UDP_GIVES_IT)

    def queries(self) -> Iterator[bytes]:
        """The query, then each that may follow; names that cannot be are left out. ValueError when the first
        has not that many labels."""
        yield self.query
        if self.further:
            cut, end = _places(self.query, self.kept)
            for domain in self.further:
                name = self.query[HEADER_BYTES:cut] + _labels(domain)
                if len(name) <= _LONGEST_NAME:
                    yield self.query[:HEADER_BYTES] + name + self.query[end:]


def _places(query: bytes, kept: int) -> tuple[int, int]:
    """Where the first `kept` labels of the question's name end, and where the name does."""
    offset, cut = HEADER_BYTES, HEADER_BYTES
    count = 0
    while True:
        if offset >= len(query) or query[offset] > 63:
            raise ValueError("the question's name is cut off or compressed")
        if count == kept:
            cut = offset
        if query[offset] == 0:
            break
        offset += 1 + query[offset]
        count += 1
    if not 0 < kept <= count:
        raise ValueError(f"the question's name has {count} labels, not {kept}")
    return cut, offset + 1


def _labels(domain: str) -> bytes:
    words = [word.encode() for word in domain.split(".") if word]
    if any(len(word) > 63 for word in words):
        return bytes(_LONGEST_NAME + 1)
    return b"".join(bytes([len(word)]) + word for word in words) + b"\0"
