"""PURE: where on the pod's search path a question stands, and what a resolver asks next (resolv.conf(5))."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from telepresence_py.dns import wire
from telepresence_py.dns.names import search_domains
from telepresence_sidecar.contract.names import Inquiry

_MOST_NDOTS = 15


@dataclass(frozen=True)
class SearchPath:
    """`domains` in their order; a name with fewer than `ndots` dots is tried behind all of them only."""

    domains: tuple[str, ...]
    ndots: int = 1

    @classmethod
    def of(cls, resolv_conf: str) -> SearchPath:
        domains = tuple(domain.strip(".") for domain in search_domains(resolv_conf))
        return cls(tuple(domain for domain in domains if domain), _ndots(resolv_conf))

    def inquiry(self, query: bytes, whole: bool, is_left_out: Callable[[str], bool]) -> Inquiry:
        """A question for a name in the first domain begins a walk along the path: the rest of it is asked
        for with it, up to the first name that is left out. Any other stands alone."""
        question = wire.read_question(query)
        base = self._base(question.name)
        if base is None:
            return Inquiry(query, whole=whole)
        further = list(self.domains[1:])
        if base.count(".") < self.ndots:
            further.append(".")
        names = [base if domain == "." else f"{base}.{domain}" for domain in further]
        kept = next((number for number, name in enumerate(names) if is_left_out(name)), len(names))
        return Inquiry(query, base.count(".") + 1, tuple(further[:kept]), whole)

    def _base(self, name: str) -> str | None:
        if not self.domains or "\\" in name:  # what is escaped is no host's name, and has dots of its own
            return None
        end = "." + self.domains[0].lower()
        return name[: -len(end)] if name.lower().endswith(end) and len(name) > len(end) else None


def _ndots(resolv_conf: str) -> int:
    """Of the last that is named."""
    found = 1
    for words in (line.split() for line in resolv_conf.splitlines()):
        if words[:1] == ["options"]:
            for option in words[1:]:
                key, _, value = option.partition(":")
                if key == "ndots" and value.isdigit():
                    found = min(int(value), _MOST_NDOTS)
    return found
