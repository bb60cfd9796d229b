"""The child's UDP: sockets keep what they do in a pod; and what cannot leave is never answered by us."""

from __future__ import annotations

import json
from typing import Any

import pytest

from integration.support.namespaces import Namespace
from integration.support.product import Product

SEE = """\
import json, socket, sys

peers, closed, pinged, everywhere = json.loads(sys.argv[1])


def flow(address, protocol=0):
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM, protocol)
    made.settimeout(5)
    return made


def asked_from_one_socket(addresses):
    with flow(addresses[0]) as one:
        found = {}
        for number in range(3 * len(addresses)):
            one.sendto(b"%d" % number, (addresses[number % len(addresses)], 7001))
        while len(found) < 3 * len(addresses):
            datagram, sender = one.recvfrom(100)
            found[int(datagram)] = sender[0]
        return [found[number] for number in range(3 * len(addresses))]


def connected(address):
    with flow(address) as one:
        one.connect((address, 7001))
        one.send(bytes(60000))
        return [len(one.recv(65536)), one.getpeername()[0], one.getsockname()[0]]


def refused(address):
    with flow(address) as one:
        one.connect((address, 9))
        try:
            one.send(b"x")
            one.recv(10)
        except OSError as error:
            return type(error).__name__


def echoed(address):
    protocol = socket.IPPROTO_ICMPV6 if ":" in address else socket.IPPROTO_ICMP
    with flow(address, protocol) as one:
        one.settimeout(1)
        one.sendto((b"\\x80" if ":" in address else b"\\x08") + bytes(6) + b"\\1ping", (address, 0))
        try:
            return one.recv(100).endswith(b"ping")
        except OSError as error:
            return type(error).__name__


seen = {
    "sockets": [asked_from_one_socket(each) for each in peers],
    "connected": [connected(each) for each in everywhere],
    "refused": [refused(each) for each in closed],
    "echoed": [echoed(each) for each in pinged],
}
print(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def ends(town: Namespace) -> dict[str, list[Any]]:
    """Addresses of the peer's Service and pods, by family those that are asked from one socket."""
    services = town.get("service", "peer")["spec"]["clusterIPs"]
    pods = [one["ip"] for pod in town.pods("app=peer") for one in pod["status"]["podIPs"]]
    everywhere = [*services, *pods]
    families = [[one for one in everywhere if (":" in one) is is_v6] for is_v6 in (False, True)]
    return {"services": services, "pods": pods, "families": [one for one in families if one]}


@pytest.fixture(scope="module")
def seen(town: Namespace, townsman: Product, ends: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """What a child saw, each of its sockets in turn."""
    pinged = [*ends["services"], *ends["pods"], "192.0.2.1"]
    told = json.dumps([ends["families"], ends["pods"], pinged, [*ends["services"], *ends["pods"]]])
    ended = townsman.run("run", "--", townsman.python, "-c", SEE, told)
    assert ended.code == 0, ended.err
    answers: dict[str, list[Any]] = json.loads(ended.out)
    return answers


def test_one_socket_talks_with_several_peers_and_each_answers_from_its_own_address(
    seen: dict[str, list[Any]], ends: dict[str, list[Any]]
) -> None:
    assert seen["sockets"] == [3 * family for family in ends["families"]]


def test_a_connected_socket_hears_its_peer_also_of_large_datagrams(
    seen: dict[str, list[Any]], ends: dict[str, list[Any]]
) -> None:
    for address, (size, peer, own) in zip([*ends["services"], *ends["pods"]], seen["connected"], strict=True):
        assert (size, peer) == (60000, address)
        assert (":" in own) == (":" in address)


def test_a_closed_port_refuses_as_it_does_in_the_pod(seen: dict[str, list[Any]]) -> None:
    assert set(seen["refused"]) == {"ConnectionRefusedError"}


def test_a_ping_has_no_answer_rather_than_a_false_one(seen: dict[str, list[Any]]) -> None:
    assert set(seen["echoed"]) == {"TimeoutError"}
