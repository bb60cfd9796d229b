"""Words of `--via-laptop` and `--never`, and what they are refused for."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from telepresence_py.cli.rules import parse_rule, parse_rules
from telepresence_py.model.errors import BadUsage
from telepresence_py.model.rules import Rule, Way


@pytest.mark.parametrize(
    ("word", "host", "port"),
    [
        ("db", "db", None),
        ("DB.Example.:5432", "db.example", 5432),
        ("db1", "db1", None),
        ("_sip.example", "_sip.example", None),
        ("*.corp.example:443", "*.corp.example", 443),
        ("cafe", "cafe", None),
        ("10.1.2.3", "10.1.2.3/32", None),
        ("10.1.2.3:80", "10.1.2.3/32", 80),
        ("10.0.0.0/8", "10.0.0.0/8", None),
        ("10.0.0.0/8:443", "10.0.0.0/8", 443),
        ("10.0.0.0/255.0.0.0", "10.0.0.0/8", None),
        ("fd00::1", "fd00::1/128", None),
        ("FD00:0:0::1", "fd00::1/128", None),
        ("[fd00::1]", "fd00::1/128", None),
        ("[fd00::1]:443", "fd00::1/128", 443),
        ("fd00::/8", "fd00::/8", None),
        ("[fd00::/8]:443", "fd00::/8", 443),
        ("::ffff:10.1.2.3", "10.1.2.3/32", None),
        ("0.0.0.0/0", "0.0.0.0/0", None),
        ("::/0", "::/0", None),
        ("169.254.169.254", "169.254.169.254/32", None),
    ],
)
def test_a_destination_is_a_name_an_address_or_a_network(word: str, host: str, port: int | None) -> None:
    assert parse_rule(Way.NEVER, word) == Rule(Way.NEVER, host, port)


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("", "no name"),
        (":80", "no name"),
        ("a..b", "no name"),
        ("-a", "no name"),
        ("db.*", "no name"),
        ("a b", "no name"),
        ("x" * 64, "no name"),
        ("ünder", "no name"),
        ("*", "0.0.0.0/0"),
        ("http://db.example/", "scheme"),
        ("10.1.2", "no address"),
        ("10.0.0.256", "no address"),
        ("0x7f.1", "no address"),
        ("10.1.2.3/33", "no address"),
        ("10.1.2.3:80:90", "no address"),
        ("orders/8080", "no address"),
        ("10.1.2.3/8", "did you mean 10.0.0.0/8?"),
        ("fe80::1%eth0", "fe80::1"),
        ("db:", "port"),
        ("db:http", "'http' is not a port"),
        ("db:70000", "70000"),
        ("[fd00::1", "[fd00::1]:443"),
        ("[db]:1", "[fd00::1]:443"),
        ("[fd00::1]443", "[fd00::1]:443"),
        ("localhost", "this machine itself"),
        ("api.localhost:80", "this machine itself"),
        ("127.0.0.1", "this machine itself"),
        ("::1", "this machine itself"),
        ("0.0.0.0", "no address of one machine"),
        ("::", "no address of one machine"),
        ("224.0.0.1", "no address of one machine"),
        ("255.255.255.255", "no address of one machine"),
        ("ff02::1", "no address of one machine"),
    ],
)
def test_what_is_none_is_refused_with_the_option_and_what_to_write(word: str, hint: str) -> None:
    with pytest.raises(BadUsage) as refused:
        parse_rule(Way.LAPTOP, word)
    assert refused.value.sentence.startswith(f"--via-laptop {word}: ")
    assert hint in refused.value.sentence


@pytest.mark.parametrize(
    ("via_laptop", "never"),
    [
        ("db.example", "DB.example."),
        ("db.example:5432", "db.example:5432"),
        ("10.1.2.3", "10.1.2.3/32"),
        ("fd00:0::1", "[fd00::1]"),
        ("*.corp.example", "*.corp.example"),
    ],
)
def test_one_destination_under_both_is_a_clash(via_laptop: str, never: str) -> None:
    with pytest.raises(BadUsage, match=r"--via-laptop \S+ and --never \S+ .* leave one of them out"):
        parse_rules(["other.example", via_laptop], [never])


def test_a_narrower_rule_inside_a_wider_one_is_none() -> None:
    rules = parse_rules(["10.0.0.0/8", "db.example", "*.corp"], ["10.1.0.0/16", "db.example:5432", "db.corp"])
    assert [str(rule) for rule in rules] == [
        "--via-laptop 10.0.0.0/8",
        "--via-laptop db.example",
        "--via-laptop *.corp",
        "--never 10.1.0.0/16",
        "--never db.example:5432",
        "--never db.corp",
    ]


def test_what_is_said_twice_is_one_rule() -> None:
    assert parse_rules(["db", "DB"], []) == (Rule(Way.LAPTOP, "db"),)


@pytest.mark.parametrize("word", ["[fd00::1]:443", "fd00::1", "[fd00::/8]:1", "10.1.2.3:80", "db.example:5"])
def test_a_rule_is_told_as_it_would_be_typed(word: str) -> None:
    assert str(parse_rule(Way.NEVER, word)) == f"--never {word}"


@pytest.mark.parametrize("rule", [Rule(Way.NEVER, "*.corp", 443), Rule(Way.LAPTOP, "10.0.0.0/8")])
def test_a_rule_is_read_as_it_was_written(rule: Rule) -> None:
    assert Rule.from_json(json.loads(json.dumps(asdict(rule)))) == rule
