"""PURE: where inside the child's world a connection to one of the pod's ports has to go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address

from telepresence_py.model.network import PortMap

Listening = Mapping[int, frozenset[str]]
"""Ports on which somebody inside listens (TCP), each with the addresses: "0.0.0.0", "::", "127.0.0.1", ..."""


def targets(listens_on: Iterable[str], pod_addresses: Iterable[str]) -> tuple[str, ...]:
    """The addresses to try in turn for a port that is listened on at `listens_on`; none if out of reach.

    The pod's own addresses if possible: there the program behaves as it does in the pod, and nothing falls
    through to the laptop. A listener on `::` may take IPv4 as well or not, which nobody tells. Addresses that
    are neither the pod's nor loopback are not where a connection from inside would arrive.
    """
    there = {str(ip_address(address)) for address in listens_on}
    own = [str(ip_address(address)) for address in pod_addresses]
    reachable = [address for address in own if address in there]
    reachable += [address for address in own if _covered_by_wildcard(address, there)]
    if "::" in there and not any(":" in address for address in reachable):
        reachable.append("::1")
    if not reachable and "0.0.0.0" in there:
        reachable.append("127.0.0.1")
    if not reachable:
        reachable = sorted(address for address in there if is_loopback(address))
    return tuple(dict.fromkeys(reachable))


def loopback_targets(listens_on: Iterable[str], pod_addresses: Iterable[str]) -> tuple[str, ...]:
    """The same for a connection that comes from the laptop's loopback: to loopback if possible, from where it
    would come if the program ran on the laptop."""
    there = {str(ip_address(address)) for address in listens_on}
    reachable = sorted(address for address in there if is_loopback(address))
    reachable += [
        loopback for wildcard, loopback in (("0.0.0.0", "127.0.0.1"), ("::", "::1")) if wildcard in there
    ]
    reachable += [own for own in map(str, map(ip_address, pod_addresses)) if own in there]
    return tuple(dict.fromkeys(reachable))


def of_family_first(addresses: Iterable[str], address: str) -> list[str]:
    """The same in the same order, but for those of `address`'s family, which come first."""
    return sorted(addresses, key=lambda each: (":" in each) != (":" in address))


def served_ports(
    ports: Iterable[PortMap], listening: Listening, pod_addresses: tuple[str, ...]
) -> frozenset[int]:
    """Those of the pod's ports whose connections the child would take now."""
    return frozenset(
        port.pod_port for port in ports if targets(listening.get(port.child_port, ()), pod_addresses)
    )


def is_loopback(address: str) -> bool:
    return ip_address(address).is_loopback


def _covered_by_wildcard(address: str, there: set[str]) -> bool:
    return "::" in there or (":" not in address and "0.0.0.0" in there)
