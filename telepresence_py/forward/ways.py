"""PURE but for its clock: which rule decides for a destination. Most specific wins; of equals, `--never`."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from telepresence_py.forward.packets import Endpoint
from telepresence_py.model.rules import Rule, Way

LEAST_SECONDS = 600.0
"""So long at least is an address taken for a name's: programs keep one for longer than DNS allows."""

MOST_ADDRESSES = 1 << 16
"""Of all names together; then the one unused for longest is forgotten."""

_ANY_LABELS = 1 << 10


class Ways:
    """The rules, and the addresses that names under them turned out to have.

    Exactly one address or one name is more specific than `*.suffix`, a longer suffix more than a shorter one,
    and any of these more than a network; a longer prefix more than a shorter one; then a rule with a port
    more than one without.
    """

    def __init__(self, rules: Iterable[Rule], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._networks = [(ip_network(rule.host), rule) for rule in rules if not rule.is_by_name]
        # by address, the rules whose names led to it, each until a time; the longest unused first
        self._learned: OrderedDict[str, dict[Rule, float]] = OrderedDict()

    def learn(self, rule: Rule, address: str, seconds: float) -> None:
        """The name under `rule` has this address, for `seconds` or LEAST_SECONDS, whichever is more.

        The time begins anew with every connection to the address: who connects still takes it for the name's.
        """
        canonical = str(ip_address(address))
        rules = self._learned.setdefault(canonical, {})
        rules[rule] = max(self._clock() + max(seconds, LEAST_SECONDS), rules.get(rule, 0.0))
        self._learned.move_to_end(canonical)
        while len(self._learned) > MOST_ADDRESSES:
            self._learned.popitem(last=False)

    def deciding(self, destination: Endpoint) -> Rule | None:
        """The rule that decides where a connection to `destination` goes; None: through the tunnel."""
        address = ip_address(destination.address)
        candidates = [
            (_breadth(network), rule) for network, rule in self._networks if _holds(network, address)
        ]
        candidates += ((_by_name(rule), rule) for rule in self._named(destination.address))
        matching = [each for each in candidates if each[1].port in (None, destination.port)]
        return max(matching, key=_specificity, default=(None, None))[1]

    def _named(self, address: str) -> list[Rule]:
        now = self._clock()
        rules = self._learned.pop(address, {})
        living = {rule: max(until, now + LEAST_SECONDS) for rule, until in rules.items() if until > now}
        if living:
            self._learned[address] = living
        return list(living)


_Breadth = tuple[int, int]
"""Bits of the address that are fixed, labels of the name that are: more is narrower."""


def _breadth(network: IPv4Network | IPv6Network) -> _Breadth:
    whole = network.prefixlen == network.max_prefixlen
    return (128 if whole else network.prefixlen, _ANY_LABELS if whole else 0)


def _by_name(rule: Rule) -> _Breadth:
    return (128, rule.host.count(".") if rule.host.startswith("*.") else _ANY_LABELS)


def _holds(network: IPv4Network | IPv6Network, address: IPv4Address | IPv6Address) -> bool:
    return network.version == address.version and address in network


def _specificity(candidate: tuple[_Breadth, Rule]) -> tuple[_Breadth, bool, bool]:
    breadth, rule = candidate
    return (breadth, rule.port is not None, rule.way is Way.NEVER)
