"""The user's rules, put to work for one child: who answers its queries, and where its connections go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from telepresence_py.dns.forwarder import Forwarder, Resolve
from telepresence_py.dns.laptop import LaptopNames
from telepresence_py.dns.names import RuledNames, hosts_addresses, search_domains
from telepresence_py.dns.podnames import Ask, PodNames
from telepresence_py.dns.ruled import RuledResolve
from telepresence_py.dns.search import SearchPath
from telepresence_py.forward.datagrams import DNS_PORT
from telepresence_py.forward.directions import ALL_TO_POD, Directions
from telepresence_py.forward.packets import Endpoint, canonical
from telepresence_py.forward.ways import Ways
from telepresence_py.model.events import Event, Level, Report
from telepresence_py.model.network import PodFacts
from telepresence_py.model.rules import Rule, Way

ALWAYS = float("inf")


@dataclass(frozen=True)
class Ruling:
    """What stands between the child and its pod: `forwarder` for its queries, `directions` for the rest."""

    forwarder: Forwarder
    directions: Directions


def ruling(
    rules: tuple[Rule, ...], facts: PodFacts, servers: frozenset[str], ask: Ask, report: Report
) -> Ruling:
    """`ask` asks the pod, `servers` are its name servers. Needs an asyncio loop."""
    path = SearchPath.of(facts.resolv_conf)
    if not rules:
        return Ruling(Forwarder(PodNames(ask, path)), ALL_TO_POD)
    ways = Ways(rules)
    names = RuledNames(rules, search_domains(facts.resolv_conf))
    by_pod = PodNames(ask, path, lambda name: names.for_laptop(name) is not None)
    resolve: Resolve = by_pod
    if names:
        resolve = RuledResolve(by_pod, names, LaptopNames().addresses, ways.learn)
        for name, address in hosts_addresses(facts.hosts):
            for rule in names.naming(name):
                ways.learn(rule, address, ALWAYS)
    forwarder = Forwarder(resolve)
    exempt = {
        Endpoint(address, DNS_PORT): Way.NAMES if names else Way.TUNNEL for address in map(canonical, servers)
    }
    way = _Choosing(ways, frozenset(map(canonical, facts.addresses)), exempt, report).way
    return Ruling(forwarder, Directions(way, forwarder.serve_stream))


class _Choosing:
    """Tells the user once of each `--never` that refused something: the child is not told why."""

    def __init__(
        self, ways: Ways, own: frozenset[str], exempt: Mapping[Endpoint, Way], report: Report
    ) -> None:
        self._ways = ways
        self._own = own
        self._exempt = exempt
        self._report = report
        self._told: set[Rule] = set()

    def way(self, destination: Endpoint) -> Way:
        if (way := self._exempt.get(destination)) is not None:
            return way
        # at the pod's own addresses only its other containers are reached here
        rule = None if destination.address in self._own else self._ways.deciding(destination)
        if rule is None:
            return Way.TUNNEL
        if rule.way is Way.NEVER and rule not in self._told:
            self._told.add(rule)
            text = f"Refused {destination.address} port {destination.port} by {rule}; told once"
            self._report(Event("refused", text, Level.NOTICE))
        return rule.way
