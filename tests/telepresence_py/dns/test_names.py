from __future__ import annotations

import pytest

from telepresence_py.dns.names import RuledNames, hosts_addresses, search_domains
from telepresence_py.model.rules import Rule, Way

SEARCH = ("shop.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example")


def laptop(host: str, port: int | None = None) -> Rule:
    return Rule(Way.LAPTOP, host, port)


def never(host: str, port: int | None = None) -> Rule:
    return Rule(Way.NEVER, host, port)


@pytest.mark.parametrize(
    ("rule", "asked"),
    [
        ("peer", "peer"),
        ("peer", "PEER."),
        ("peer", "peer.shop.svc.cluster.local"),
        ("peer.shop", "peer.shop.svc.cluster.local"),
        ("peer.shop.svc", "peer.shop.svc.cluster.local."),
        ("peer.shop.svc.cluster.local", "peer.shop.svc.cluster.local"),
        ("db.example", "db.example.corp.example"),
        ("*.shop", "peer.shop.svc.cluster.local"),
        ("*.example", "a.b.example"),
    ],
)
def test_a_name_is_known_in_every_form_that_a_resolver_asks_for(rule: str, asked: str) -> None:
    assert RuledNames([never(rule)], SEARCH).naming(asked) == (never(rule),)


@pytest.mark.parametrize(
    ("rule", "asked"),
    [
        ("peer", "peers.shop.svc.cluster.local"),
        ("peer", "peer.other.svc.cluster.local.example"),
        ("peer", "a.peer"),
        ("*.example", "example"),
        ("*.example", "badexample"),
        ("*.example", ".example"),
        ("shop", "svc.cluster.local"),
    ],
)
def test_another_name_is_none_of_the_rules(rule: str, asked: str) -> None:
    assert RuledNames([never(rule)], SEARCH).naming(asked) == ()


def test_addresses_and_networks_name_nothing() -> None:
    assert not RuledNames([never("10.0.0.0/8")], SEARCH)
    assert RuledNames([never("10.0.0.0/8"), never("a")], SEARCH)


def test_the_laptop_is_asked_for_the_name_without_the_suffix_of_the_search() -> None:
    names = RuledNames([laptop("nas"), laptop("*.lab.example", 443)], SEARCH)
    assert names.for_laptop("nas.shop.svc.cluster.local") == "nas"
    assert names.for_laptop("Bench.lab.example") == "bench.lab.example"
    assert names.for_laptop("bench.lab.example.svc.cluster.local") == "bench.lab.example"
    assert names.for_laptop("peer.shop.svc.cluster.local") is None


def test_the_narrowest_name_says_who_is_asked() -> None:
    names = RuledNames([laptop("*.example"), never("*.corp.example"), laptop("nas.corp.example")], ())
    assert names.for_laptop("www.example") == "www.example"
    assert names.for_laptop("db.corp.example") is None
    assert names.for_laptop("nas.corp.example") == "nas.corp.example"
    assert len(names.naming("nas.corp.example")) == 3


def test_a_name_of_which_one_port_is_kept_is_the_laptops() -> None:
    names = RuledNames([never("nas", 22), laptop("nas", 443)], ())
    assert names.for_laptop("nas") == "nas"


def test_search_domains_are_those_of_the_last_line() -> None:
    text = "search a.example\nnameserver 10.0.0.10\n# search no\nsearch shop.svc svc\n"
    assert search_domains(text) == ("shop.svc", "svc")
    assert search_domains("domain corp.example") == ("corp.example",)
    assert search_domains("nameserver 10.0.0.10") == ()


def test_a_hosts_file_gives_each_name_its_addresses() -> None:
    text = "# made\n127.0.0.1\tlocalhost\n10.9.8.7 a.example a # both\n\nnonsense b\nfd00::1 a\n"
    assert hosts_addresses(text) == [
        ("localhost", "127.0.0.1"),
        ("a.example", "10.9.8.7"),
        ("a", "10.9.8.7"),
        ("a", "fd00::1"),
    ]
