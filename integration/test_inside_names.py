"""Names in a pod with settings of its own: every record byte for byte, the search path, aliases, keeping."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.probe.asking import HERE
from integration.probe.manifests import Object, Workload, probe_config_map, service
from integration.probe.shell_child import ShellChild, shell_child
from integration.probe.town import settle
from integration.support.link import Link
from integration.support.namespaces import Namespace
from integration.support.plain_user import PlainUser
from integration.support.product import Product, product_for

NAMING = HERE / "naming.py"
SERVED = 5353
RECORDS = (
    "A/a",
    "AAAA/aaaa",
    "A/alias",
    "CNAME/alias",
    "MX/mx",
    "SRV/srv",
    "TXT/txt",
    "TXT/big",
    "AAAA/a",
    "A/nobody",
    "A/broken",
    "A/refused",
)
WORDS = tuple(
    f"{how}/{record}.records.example" for record in RECORDS for how in ("udp", "udp1232", "udp4096", "tcp")
)
REVERSE = "udp/PTR/80.2.0.192.in-addr.arpa"
NAMES = (
    "alias.of.named",
    "second.alias",
    "peer",
    "one.band",
    "band",
    "away",
    "short",
    "far.example",
    "far.example.",
    "nobody",
    "no.body.far.example",
    "a.records.example",
)
FAR_MILLISECONDS = 1500
"""A round trip so long that two of them are no accident."""


@pytest.fixture(scope="module")
def named(town: Namespace) -> Namespace:
    """`named`, whose pod has a name server, a search path, ndots and aliases of its own; a pod with a name of
    its own in `band`; and `away`, a Service that is another name."""
    front = service("naming", 53, SERVED)
    front["spec"]["ports"] = [
        {"name": protocol.lower(), "port": 53, "targetPort": SERVED, "protocol": protocol}
        for protocol in ("UDP", "TCP")
    ]
    away = {"type": "ExternalName", "externalName": f"peer.{town.name}.svc.cluster.local"}
    band = service("band", 8080, 8080, clusterIP="None")
    command = ["python3", "-c", NAMING.read_text(), "serve", str(SERVED)]
    listens = {"tcpSocket": {"port": SERVED}, "periodSeconds": 1}
    serving = {"command": command, "readinessProbe": listens}
    one = {"hostname": "one", "subdomain": "band"}
    town.apply(front)
    server = town.get("service", "naming")["spec"]["clusterIP"]
    settle(
        town,
        probe_config_map(),
        band,
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "away"}, "spec": away},
        *Workload("naming", container=serving, service=False).objects(),
        *Workload("band", pod=one, service=False).objects(),
        *Workload("named", pod=_settings(town, server)).objects(),
    )
    return town


def _settings(town: Namespace, server: str) -> Object:
    domains = [f"{town.name}.svc.cluster.local", "svc.cluster.local", "cluster.local", "extra.example"]
    return {
        "dnsPolicy": "None",
        "dnsConfig": {
            "nameservers": [server],
            "searches": domains,
            "options": [{"name": "ndots", "value": "2"}, {"name": "timeout", "value": "12"}],
        },
        "hostAliases": [
            {"ip": "10.9.8.7", "hostnames": ["alias.of.named", "second.alias"]},
            {"ip": "fd00::987", "hostnames": ["alias.of.named"]},
        ],
    }


@pytest.fixture(scope="module")
def in_pod(named: Namespace) -> dict[str, str]:
    """What the original of `named` is told."""
    told: dict[str, str] = json.loads(
        named.python_in_pod("deployment/named", NAMING.read_text(), "ask", *WORDS, REVERSE)
    )
    for name in NAMES:
        told[name] = named.in_pod("deployment/named", "sh", "-c", _getent(name)).strip()
    return told


def _getent(name: str) -> str:
    return f"getent ahosts {name}; echo code $?"


@pytest.fixture(scope="module")
def link(named: Namespace) -> Iterator[Link]:
    with Link.before_server(named.developer_kubeconfig()) as link:
        yield link


@pytest.fixture(scope="module")
def product(user: PlainUser, named: Namespace, link: Link, sidecar_image: None) -> Iterator[Product]:
    with product_for(user, link.through(named.developer_kubeconfig())) as product:
        yield product


@pytest.fixture(scope="module")
def child(product: Product, in_pod: dict[str, str]) -> Iterator[ShellChild]:
    """All of them share one session; nothing has been asked for in it before."""
    with shell_child(product, "deployment/named") as shell:
        yield shell


def asked(child: ShellChild, product: Product, *words: str) -> dict[str, str]:
    said, code = child.run(
        f"{product.python} {product.source('integration/probe/naming.py')} ask {' '.join(words)}"
    )
    assert code == 0, said
    answers: dict[str, str] = json.loads(said)
    return answers


def times(child: ShellChild, product: Product, name: str) -> int:
    """How often the name server was asked for it."""
    word = f"udp/TXT/times.{name}"
    return int(bytes.fromhex(asked(child, product, word)[word]).rpartition(b"\0\0\0\0\0")[2][2:].decode())


def test_every_record_is_byte_for_byte_what_the_pod_is_told(
    child: ShellChild, product: Product, in_pod: dict[str, str]
) -> None:
    """By UDP, with EDNS and without, and by TCP: denials, failures and truncated answers too."""
    for word, answer in asked(child, product, *WORDS, REVERSE).items():
        assert answer == in_pod[word], word
    truncated = bytes.fromhex(in_pod["udp/TXT/big.records.example"])
    assert truncated[2] & 2, "one of them is truncated, and has records nevertheless"
    assert truncated[7]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_found_as_in_the_pod(child: ShellChild, in_pod: dict[str, str], name: str) -> None:
    """hostAliases, a search path and ndots of the pod's own, headless and per-pod names, ExternalName."""
    assert child.run(_getent(name)) == (in_pod[name], 0)


def test_what_is_looked_up_in_vain_or_elsewhere_is_looked_up_in_the_pod_too(in_pod: dict[str, str]) -> None:
    """That the comparison is one of answers, not of failures."""
    failed = [name for name in NAMES if "code 2" in in_pod[name]]
    assert failed == ["nobody", "no.body.far.example"]


def test_a_name_outside_costs_one_round_trip_cold_and_none_warm(
    child: ShellChild, product: Product, named: Namespace, link: Link
) -> None:
    """The four names of the search path do not exist."""
    first = f"slow.example.{named.name}.svc.cluster.local"
    found = "getent ahostsv4 slow.example | head -n 1"
    link.delay(FAR_MILLISECONDS)
    try:
        began = time.monotonic()
        assert child.run(found)[0].startswith("192.0.2.81 ")
        cold = time.monotonic() - began
        began = time.monotonic()
        assert child.run(found)[0].startswith("192.0.2.81 ")
        warm = time.monotonic() - began
    finally:
        link.delay(0)
    assert FAR_MILLISECONDS / 1000 <= cold < 2 * FAR_MILLISECONDS / 1000
    assert warm < FAR_MILLISECONDS / 1000
    for name in (first, "slow.example"):
        assert times(child, product, name) == 1, name


def test_the_name_servers_of_the_machine_are_not_touched(child: ShellChild, named: Namespace) -> None:
    inside, _ = child.run("cat /etc/resolv.conf")
    assert "ndots:2" in inside
    assert Path("/etc/resolv.conf").read_text().strip() != inside
    for name in ("alias.of.named", f"peer.{named.name}.svc.cluster.local"):
        looked_up = subprocess.run(["getent", "hosts", name], capture_output=True, check=False)
        assert looked_up.returncode == 2, "no name of the pod is one of the machine's"
