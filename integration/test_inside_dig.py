"""dig sees the cluster's name server as in the pod: every kind of record, by UDP and by TCP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from integration.probe.shell_child import ShellChild, shell_child
from integration.support.namespaces import Namespace
from integration.support.product import Product
from integration.support.programs import Need


@pytest.fixture(scope="module")
def inside(town: Namespace, townsman: Product, need: Need) -> Iterator[ShellChild]:
    need("dig")
    with shell_child(townsman, "target") as child:
        yield child


@pytest.fixture(scope="module")
def peer(town: Namespace) -> str:
    return f"peer.{town.name}.svc.cluster.local"


@pytest.fixture(scope="module")
def addresses(town: Namespace) -> dict[str, str]:
    """The addresses of Service `peer` by type of record; only those that the cluster gives."""
    found = town.get("service", "peer")["spec"]["clusterIPs"]
    return {"AAAA" if ":" in address else "A": address for address in found}


@pytest.mark.parametrize("transport", ["", "+tcp"])
@pytest.mark.parametrize("kind", ["A", "AAAA"])
def test_the_addresses_of_a_service(
    inside: ShellChild, peer: str, addresses: dict[str, str], kind: str, transport: str
) -> None:
    assert inside.run(f"dig {transport} +short {peer} {kind}") == (addresses.get(kind, ""), 0)


def test_a_short_name_by_the_search_path_of_the_pod(inside: ShellChild, addresses: dict[str, str]) -> None:
    assert inside.run("dig +search +short peer A") == (addresses["A"], 0)


def test_the_addresses_of_the_pods_behind_a_headless_service(inside: ShellChild, town: Namespace) -> None:
    pods = sorted(pod["status"]["podIP"] for pod in town.pods("app=peer"))
    said, code = inside.run(f"dig +short peers.{town.name}.svc.cluster.local A")
    assert (sorted(said.split()), code) == (pods, 0)


def test_the_port_of_a_service(inside: ShellChild, peer: str) -> None:
    said, code = inside.run(f"dig +short _tcp-80._tcp.{peer} SRV")
    assert code == 0
    _priority, _weight, port, name = said.split()
    assert (port, name) == ("80", f"{peer}.")


def test_the_name_of_an_address(inside: ShellChild, peer: str, addresses: dict[str, str]) -> None:
    for address in addresses.values():
        assert inside.run(f"dig +short -x {address}") == (f"{peer}.", 0)


def test_a_name_that_does_not_exist(inside: ShellChild, town: Namespace) -> None:
    said, code = inside.run(f"dig nobody.{town.name}.svc.cluster.local")
    assert code == 0
    assert "status: NXDOMAIN" in said
    assert "SOA" in said, "the authority that denies it is named"


@pytest.mark.parametrize(("transport", "told"), [("", "(UDP)"), ("+tcp", "(TCP)")])
def test_the_one_who_answers_is_the_pods_name_server(
    inside: ShellChild, town: Namespace, peer: str, transport: str, told: str
) -> None:
    settings = town.in_pod("deployment/peer", "cat", "/etc/resolv.conf")
    servers = [line.split()[1] for line in settings.splitlines() if line.startswith("nameserver")]
    said, _ = inside.run(f"dig {transport} {peer}")
    assert f";; SERVER: {servers[0]}#53({servers[0]}) {told}" in said


def test_a_name_server_that_is_not_there_does_not_answer(inside: ShellChild, peer: str) -> None:
    said, code = inside.run(f"dig @192.0.2.53 +tries=1 +time=1 {peer}")
    assert code == 9, said
