"""`--via-laptop` and `--never`: the options, and what their words mean as values. Nothing is looked up."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

import click

from telepresence_py.cli.common import AnyCommand
from telepresence_py.cli.options import port_number
from telepresence_py.model.errors import BadUsage
from telepresence_py.model.rules import Rule, Way

_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*")
_NUMBERS = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)|.*[:/].*")
"""No top-level domain is a number: what ends in one is an address, well written or not."""
_NOT_CAPTURED = {
    "this machine itself, where no rule reaches": ("127.0.0.0/8", "::1/128"),
    "no address of one machine": ("0.0.0.0/32", "::/128", "224.0.0.0/4", "255.255.255.255/32", "ff00::/8"),
}
"""What does not leave the child's network, or never gets an answer: a rule on it would do nothing."""


def rule_options(command: AnyCommand) -> AnyCommand:
    for way, text in (
        (Way.NEVER, "Refuse connections to this destination; repeatable."),
        (Way.LAPTOP, "Reach this destination from the laptop's own network; repeatable."),
    ):
        option = click.option(f"--{way}", multiple=True, metavar="HOST|CIDR[:PORT]", help=text)
        command = option(command)
    return command


def rules_choice(options: dict[str, Any]) -> tuple[Rule, ...]:
    """The rules that the options give; they are taken out of `options`; BadUsage."""
    return parse_rules(options.pop("via_laptop"), options.pop("never"))


def parse_rules(via_laptop: Iterable[str], never: Iterable[str]) -> tuple[Rule, ...]:
    """PURE. All words of both options; BadUsage for a malformed one, and when one destination is under both.

    A rule inside another's network is no clash: the narrower of them decides for what both cover.
    """
    rules: dict[tuple[str, int | None], Rule] = {}
    words = [(Way.LAPTOP, word) for word in via_laptop] + [(Way.NEVER, word) for word in never]
    for rule in (parse_rule(way, word) for way, word in words):
        other = rules.setdefault((rule.host, rule.port), rule)
        if other.way is not rule.way:
            raise BadUsage(f"{other} and {rule} are about the same destination: leave one of them out")
    return tuple(rules.values())


def parse_rule(way: Way, word: str) -> Rule:
    """PURE. `name`, `*.suffix`, address or network; with `:PORT` behind it, IPv6 then in brackets."""
    given = f"--{way} {word}"
    host, port = _split(given, word.strip())
    return Rule(way, _host(given, host), None if port is None else port_number(given, port))


def _split(given: str, word: str) -> tuple[str, str | None]:
    if "://" in word:
        raise BadUsage(f"{given}: leave out scheme and path of the URL; write HOST or HOST:PORT")
    if word.startswith("["):
        host, bracket, rest = word[1:].partition("]")
        if not bracket or ":" not in host or (rest and not rest.startswith(":")):
            raise BadUsage(f"{given}: write an IPv6 address with a port as [fd00::1]:443")
        return host, rest[1:] if rest else None
    if word.count(":") > 1:
        return word, None
    host, colon, port = word.partition(":")
    return host, port if colon else None


def _host(given: str, host: str) -> str:
    name = host.lower().removesuffix(".")
    if _NUMBERS.fullmatch(name):
        return str(_network(given, host))
    if name == "*":
        raise BadUsage(f"{given}: for every address write 0.0.0.0/0, and ::/0 for those of IPv6")
    if not _NAME.fullmatch(name) or len(name) > 253:
        raise BadUsage(
            f"{given}: {host!r} is no name, address or network; write for example db.example:5432, "
            "*.example, 10.1.2.3 or 10.0.0.0/8"
        )
    if name == "localhost" or name.endswith(".localhost"):
        raise BadUsage(f"{given}: {host!r} is this machine itself, where no rule reaches")
    return name


def _network(given: str, host: str) -> IPv4Network | IPv6Network:
    try:
        network = ip_network(host, strict=False)
    except ValueError:
        raise BadUsage(
            f"{given}: {host!r} is no address or network; write for example 10.1.2.3, 10.0.0.0/8, fd00::1 or "
            "[fd00::1]:443"
        ) from None
    if "%" in host:
        raise BadUsage(f"{given}: write the address without its zone, {host.partition('%')[0]}")
    if "/" in host and str(network.network_address) != str(ip_network(host.partition("/")[0])[0]):
        raise BadUsage(f"{given}: {host} has bits set behind its length; did you mean {network}?")
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped and network.prefixlen >= 96:
        network = IPv4Network((network.network_address.ipv4_mapped, network.prefixlen - 96))
    for reason, parts in _NOT_CAPTURED.items():
        for part in map(ip_network, parts):
            if network.version == part.version and network.subnet_of(part):  # type: ignore[arg-type]
                raise BadUsage(f"{given}: {host} is {reason}")
    return network
