"""PURE: which rules name a name that the child's resolver asks for."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from telepresence_py.model.rules import Rule, Way


class RuledNames:
    """The rules by name. A resolver that walks the pod's search path asks for the name with each suffix
    behind it: in all of these forms the rule's name is meant (`peer` by peer.shop.svc.cluster.local)."""

    def __init__(self, rules: Iterable[Rule], search: Iterable[str]) -> None:
        self._rules = tuple(rule for rule in rules if rule.is_by_name)
        self._suffixes = tuple("." + domain.lower().strip(".") for domain in search if domain.strip("."))

    def __bool__(self) -> bool:
        return bool(self._rules)

    def naming(self, name: str) -> tuple[Rule, ...]:
        """The rules that name it, in any order."""
        return tuple(dict.fromkeys(rule for _form, rule in self._matches(name)))

    def for_laptop(self, name: str) -> str | None:
        """What the laptop's resolver is to be asked for, when the narrowest rule on this name, whatever its
        port, is `--via-laptop`; None for the pod's name servers."""
        matches = self._matches(name)
        if not matches:
            return None
        narrowest = max(_labels(rule) for _form, rule in matches)
        forms = (form for form, rule in matches if _labels(rule) == narrowest and rule.way is Way.LAPTOP)
        return next(forms, None)

    def _matches(self, name: str) -> list[tuple[str, Rule]]:
        whole = name.lower().rstrip(".")
        forms = [whole, *(whole.removesuffix(end) for end in self._suffixes if whole.endswith(end))]
        return [(form, rule) for form in forms for rule in self._rules if _names(rule.host, form)]


def _names(host: str, name: str) -> bool:
    return name.endswith(host[1:]) and len(name) >= len(host) if host.startswith("*.") else name == host


def _labels(rule: Rule) -> tuple[bool, int]:
    return (not rule.host.startswith("*."), rule.host.count("."))


def search_domains(resolv_conf: str) -> tuple[str, ...]:
    """Of the last `search` or `domain` line (resolv.conf(5))."""
    found: tuple[str, ...] = ()
    for words in (line.split() for line in resolv_conf.splitlines()):
        if words[:1] in (["search"], ["domain"]):
            found = tuple(words[1:])
    return found


def hosts_addresses(hosts: str) -> list[tuple[str, str]]:
    """Each name of a hosts file with each of its addresses (hosts(5)); what is none is left out."""
    lines = (line.partition("#")[0].split() for line in hosts.splitlines())
    return [(name, words[0]) for words in lines for name in words[1:] if _is_address(words[0])]


def _is_address(word: str) -> bool:
    try:
        ip_address(word)
    except ValueError:
        return False
    return True
