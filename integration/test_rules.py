"""`--via-laptop` keeps a destination in the laptop's network; `--never` refuses it, by address or name.

And what a NetworkPolicy drops is dropped for the child as for the pod, as its connections leave from there.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest

from integration.conftest import MakeNamespace
from integration.probe.manifests import Workload, service
from integration.probe.shell_child import ShellChild, shell_child
from integration.probe.town import peers, settle
from integration.support.aftermath import sidecar_pods
from integration.support.cluster import KubectlFailed
from integration.support.home import Home, home_of
from integration.support.namespaces import Namespace
from integration.support.plain_user import PlainUser
from integration.support.product import Product, product_for
from integration.support.programs import Need
from integration.support.waiting import wait_until

pytestmark = pytest.mark.own_cluster

NOT_RESOLVED, REFUSED, TIMED_OUT = 6, 7, 28
"""Exit codes of curl."""

ECHO = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[2] else socket.AF_INET
with socket.socket(family, getattr(socket, "SOCK_" + sys.argv[1])) as flow:
    flow.settimeout(3)
    try:
        flow.connect((sys.argv[2], int(sys.argv[3])))
        flow.send(b"said")
        print(flow.recv(100).decode())
    except OSError as error:
        print(type(error).__name__)
"""
"""What comes back of `said` over a connected socket, or the error."""

POLICY = """
table inet telepresence_py_policy {
    chain between {
        type filter hook forward priority 10
%s
    }
}
"""
DROPPED = "        {ip} saddr {who} {ip} daddr {whom} tcp dport 8080 drop"


@pytest.fixture(scope="module")
def place(namespaces: MakeNamespace) -> Namespace:
    """`ruled`, to be swapped; `peer` with its Services; `moving`, a name whose address a test changes."""
    namespace = namespaces("rules")
    moving = service("moving", 7000, 7000, clusterIP="None")
    del moving["spec"]["selector"]
    settle(namespace, *peers(), moving, *Workload("ruled").objects())
    move(namespace, "192.0.2.1")
    namespace.ensure_customers_pod()
    return namespace


@pytest.fixture(scope="module")
def peer(place: Namespace) -> str:
    """The IPv4 address of Service `peer`: HTTP 80, TCP echo 7000, UDP echo 7001."""
    return str(next(ip for ip in place.get("service", "peer")["spec"]["clusterIPs"] if "." in ip))


@pytest.fixture(scope="module")
def peer_pod(place: Namespace) -> str:
    """Behind it, and behind the headless `peers`: HTTP 8080, TCP echo 7000."""
    return str(place.pods("app=peer")[0]["status"]["podIP"])


@pytest.fixture(scope="module")
def home(place: Namespace, user: PlainUser, sidecar_image: None) -> Iterator[Home]:
    server = urlsplit(place.cluster.address()["server"]).hostname
    assert server is not None
    with home_of(user, place, f"{server.rpartition('.')[0]}.211/24") as home:
        home.name({"nas.home.example": "192.0.2.33", "printer": "192.0.2.34"})
        yield home


@pytest.fixture(scope="module")
def product(place: Namespace, home: Home) -> Iterator[Product]:
    with product_for(home.user, place.developer_kubeconfig()) as product:
        yield product


@pytest.fixture(scope="module")
def child(product: Product, need: Need, peer: str) -> Iterator[ShellChild]:
    """One session with all the rules, its child a shell."""
    need("dig")
    rules = [
        "--via-laptop=nas.home.example",
        "--via-laptop=printer:8080",
        "--via-laptop=*.lab.example",
        "--via-laptop=192.0.2.72/29",
        "--never=192.0.2.79",
        "--via-laptop=[fd00:77::77]:8080",
        f"--never={peer}:7001",
        "--never=peers:8080",
        "--never=moving:7000",
    ]
    with shell_child(product, "ruled", *rules) as child:
        yield child


def move(place: Namespace, address: str) -> None:
    place.apply(
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "moving", "labels": {"kubernetes.io/service-name": "moving"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [address]}],
            "ports": [{"port": 7000}],
        }
    )


def get(child: ShellChild, url: str, seconds: int = 10) -> tuple[str, int]:
    """Who answered, and curl's exit code."""
    said, code = child.run(f"curl -gsS --max-time {seconds} {shlex.quote(url)}")
    return (json.loads(said)["who"], code) if code == 0 else ("", code)


def echo(child: ShellChild, kind: str, address: str, port: int) -> str:
    return child.run(f"python3 -c {shlex.quote(ECHO)} {kind} {address} {port}")[0]


# -- the laptop's own network ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://nas.home.example:8080/",
        "http://printer:8080/",
        "http://192.0.2.77:8080/",
        "http://[fd00:77::77]:8080/",
    ],
    ids=["name", "name without a dot", "network", "IPv6 with a port"],
)
def test_what_is_kept_on_the_laptop_is_reached_from_its_own_network(child: ShellChild, url: str) -> None:
    assert get(child, url) == ("home", 0)


def test_datagrams_are_kept_there_alike(child: ShellChild) -> None:
    assert echo(child, "DGRAM", "192.0.2.77", 7001) == "said"


@pytest.mark.parametrize("port", [9, 7009])
def test_a_closed_port_there_refuses_as_it_does(child: ShellChild, port: int) -> None:
    assert get(child, f"http://192.0.2.77:{port}/")[1] == REFUSED
    assert echo(child, "DGRAM", "192.0.2.77", port) == "ConnectionRefusedError"


def test_without_a_rule_the_same_laptops_address_is_out_of_the_pods_reach(child: ShellChild) -> None:
    """What these tests would see of a rule that did nothing."""
    assert get(child, "http://[fd00:77::77]:8081/", seconds=3)[1] != 0
    assert echo(child, "DGRAM", "fd00:77::77", 7001) != "said"


def test_everything_else_is_the_pods_as_before(child: ShellChild, peer: str) -> None:
    assert get(child, "http://peer/") == ("peer", 0)
    assert get(child, f"http://{peer}/") == ("peer", 0)


def test_a_name_follows_what_the_laptops_resolver_says(child: ShellChild, home: Home) -> None:
    known = {"nas.home.example": "192.0.2.34", "printer": "192.0.2.34", "bench.lab.example": "192.0.2.33"}
    assert get(child, "http://bench.lab.example:8080/")[1] == NOT_RESOLVED
    home.name(known)
    assert child.run("getent ahostsv4 nas.home.example | head -1")[0].split()[0] == "192.0.2.34"
    assert get(child, "http://nas.home.example:8080/") == ("home", 0)
    assert get(child, "http://bench.lab.example:8080/") == ("home", 0)


@pytest.mark.parametrize("transport", ["", "+tcp"])
def test_the_laptops_answer_comes_by_udp_and_by_tcp(child: ShellChild, transport: str) -> None:
    assert child.run(f"dig {transport} +short localhost.lab.example") == ("", 0)
    said, code = child.run(f"dig {transport} +short printer A")
    assert (said, code) == ("192.0.2.34", 0)


# -- never -----------------------------------------------------------------------------------------------


def test_an_address_inside_a_kept_network_is_refused_all_the_same(child: ShellChild) -> None:
    assert get(child, "http://192.0.2.79:8080/")[1] == REFUSED


def test_a_service_is_refused_by_name_and_by_the_addresses_that_the_name_has(
    child: ShellChild, peer_pod: str
) -> None:
    assert get(child, "http://peers:8080/")[1] == REFUSED
    assert get(child, f"http://{peer_pod}:8080/")[1] == REFUSED
    child.swap.running.wait_err(r"Refused \S+ port 8080 by --never peers:8080", 5)


def test_datagrams_to_a_port_that_is_never_to_be_reached_are_refused_at_once(
    child: ShellChild, peer: str
) -> None:
    assert echo(child, "DGRAM", peer, 7001) == "ConnectionRefusedError"


def test_a_name_that_is_never_to_be_reached_is_followed_to_its_next_address(
    child: ShellChild, place: Namespace, peer_pod: str
) -> None:
    child.run("getent hosts moving")
    assert echo(child, "STREAM", peer_pod, 7000) == "said"
    move(place, peer_pod)

    def followed() -> bool:
        return child.run("getent hosts moving")[0].split()[:1] == [peer_pod]

    wait_until(followed, 60, "the name server knows of the new address")
    assert echo(child, "STREAM", peer_pod, 7000) == "ConnectionRefusedError"
    assert get(child, "http://peer/") == ("peer", 0)


def test_a_run_heeds_rules_as_a_swap_does(product: Product) -> None:
    script = "curl -s http://nas.home.example:8080/ && exec curl -s --max-time 9 http://peer/"
    ended = product.run("run", "--via-laptop=*.home.example", "--never=peer:80", "--", "sh", "-c", script)
    assert ended.code == REFUSED, ended.err
    assert json.loads(ended.out)["who"] == "home"


# -- policies --------------------------------------------------------------------------------------------


def test_what_a_policy_drops_is_dropped_for_the_child_as_for_the_pod(
    child: ShellChild, place: Namespace
) -> None:
    """A policy is carried out where the pod's packets pass: in its node, by rules on the pod's addresses."""
    (pod,), (peer,), (customers,) = (
        sidecar_pods(place, "ruled"),
        place.pods("app=peer"),
        place.pods("app=customers"),
    )
    child.run("python3 -m http.server 8080 >/dev/null 2>&1 & echo begun")
    wait_until(lambda: child.run("curl -s http://127.0.0.1:8080/")[1] == 0, 10, "the child serves")
    ask_pod, ask_peer = (asking(one["status"]["podIP"]) for one in (pod, peer))
    in_pod = partial(succeeds, place, pod["metadata"]["name"], ask_peer)
    from_customers = partial(succeeds, place, "customers", ask_pod)
    assert get(child, "http://peer/") == ("peer", 0)
    assert in_pod()
    assert from_customers()
    with dropping(place, pod["spec"]["nodeName"], (pod, peer), (customers, pod)):
        assert get(child, "http://peer/", seconds=3)[1] == TIMED_OUT
        assert not in_pod()
        assert not from_customers()
    assert get(child, "http://peer/") == ("peer", 0)
    assert from_customers()


def asking(address: str) -> str:
    return f"import urllib.request as r; r.urlopen('http://{address}:8080/', timeout=3)"


def succeeds(place: Namespace, pod: str, program: str) -> bool:
    """False when it ran into its time limit."""
    try:
        place.in_pod(pod, "python3", "-c", program)
    except KubectlFailed as failed:
        if "timed out" not in str(failed):
            raise
        return False
    return True


@contextlib.contextmanager
def dropping(place: Namespace, node: str, *pairs: tuple[Any, Any]) -> Iterator[None]:
    """Nothing of the first of each pair reaches port 8080 of the second through that node."""
    assert place.cluster.kubeconfig is not None, "the project's own cluster, whose nodes are on this machine"
    pid = place.cluster.kubeconfig.parent / "pid" / f"containerd-{node.removeprefix('node')}"
    in_node = ["nsenter", "--target", pid.read_text().strip(), "--net", "nft"]
    rules = "\n".join(
        DROPPED.format(ip="ip6" if ":" in one["ip"] else "ip", who=one["ip"], whom=other["ip"])
        for who, whom in pairs
        for one in who["status"]["podIPs"]
        for other in whom["status"]["podIPs"]
        if (":" in one["ip"]) == (":" in other["ip"])
    )
    subprocess.run([*in_node, POLICY % rules], check=True)
    try:
        yield
    finally:
        subprocess.run([*in_node, "delete table inet telepresence_py_policy"], check=True)
