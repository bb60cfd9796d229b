"""The child is on the pod's network: addresses, TCP, UDP, names; in every language of the probe alike."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import socket
import threading
from collections.abc import Iterator

import pytest

from integration.probe.asking import ProbeError
from integration.probe.languages import LANGUAGES, Builder
from integration.probe.parity import Inside, inside_target
from integration.probe.town import settle, target
from integration.support.namespaces import Namespace
from integration.support.product import Product

NAMES = ("peer", "peers", "kubernetes.default", "localhost", "alias.of.target")
REFUSED = ("ECONNREFUSED",)


@pytest.fixture(scope="module", params=LANGUAGES)
def inside(
    request: pytest.FixtureRequest, town: Namespace, townsman: Product, builder: Builder
) -> Iterator[Inside]:
    questions = [{"ask": "resolve", "name": name, "key": name} for name in NAMES]
    child = builder.probe(request.param, townsman, "http:8080")
    with inside_target(town, townsman, child, questions) as found:
        yield found


@pytest.fixture
def peer(town: Namespace) -> dict[int, str]:
    """The addresses of Service `peer` by family: {4: ..., 6: ...}; only those that the cluster gives."""
    addresses = town.get("service", "peer")["spec"]["clusterIPs"]
    return {6 if ":" in address else 4: address for address in addresses}


def get(path: str) -> str:
    return f"GET {path} HTTP/1.0\r\nHost: peer\r\n\r\n"


def family_or_skip(addresses: dict[int, str], family: int) -> str:
    if family not in addresses:
        pytest.skip(f"the cluster has no IPv{family}")
    return addresses[family]


def test_child_has_the_pods_host_name(inside: Inside) -> None:
    assert inside.child.ask("hostname") == inside.pod_name
    assert inside.child.ask("environment")["HOSTNAME"] == inside.pod_name
    with_name = base64.b64decode(inside.child.ask("file", path="/etc/hostname")["content"])
    assert with_name.decode().strip() == inside.pod_name


def test_child_has_the_pods_addresses_and_no_other(inside: Inside) -> None:
    assert inside.child.ask("addresses") == inside.pod_addresses


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_resolved_as_the_pod_resolves_it(inside: Inside, name: str) -> None:
    assert inside.child.ask("resolve", name=name) == inside.original[name]


@pytest.mark.parametrize(
    "form", ["{}.{}", "{}.{}.svc", "{}.{}.svc.cluster.local", "{}.{}.svc.cluster.local."]
)
def test_every_form_of_a_service_name_leads_to_the_service(
    inside: Inside, peer: dict[int, str], form: str
) -> None:
    name = form.format("peer", inside.town.name)
    assert inside.child.ask("resolve", name=name) == sorted(peer.values())


def test_its_own_name_leads_to_its_own_address(inside: Inside) -> None:
    assert set(inside.child.ask("resolve", name=inside.pod_name)) <= set(inside.pod_addresses)


def test_a_name_that_does_not_exist_fails_as_such(inside: Inside) -> None:
    with pytest.raises(ProbeError) as missing:
        inside.child.ask("resolve", name="nobody-has-this-name")
    assert missing.value.kind == "gaierror"


def test_an_address_is_resolved_back_to_its_name(inside: Inside, peer: dict[int, str]) -> None:
    for address in peer.values():
        assert inside.child.ask("reverse", address=address) == f"peer.{inside.town.name}.svc.cluster.local"


def test_an_address_without_a_name_fails_as_such(inside: Inside) -> None:
    with pytest.raises(ProbeError):
        inside.child.ask("reverse", address="192.0.2.123")


def test_a_service_is_reached_by_name(inside: Inside) -> None:
    answer = inside.child.ask("tcp", host="peer", port=80, send=get("/by-name"))
    assert '"who": "peer"' in answer["received"]


def test_a_service_is_reached_by_the_variables_of_the_pod(inside: Inside) -> None:
    variables = inside.child.ask("environment")
    port = int(variables["PEER_SERVICE_PORT"])
    answer = inside.child.ask("tcp", host=variables["PEER_SERVICE_HOST"], port=port, send=get("/by-variable"))
    assert '"who": "peer"' in answer["received"]


@pytest.mark.parametrize("family", [4, 6])
def test_tcp_reaches_a_service_and_ends_each_way_by_itself(
    inside: Inside, peer: dict[int, str], family: int
) -> None:
    address = family_or_skip(peer, family)
    said = "half closed" * 1000
    answer = inside.child.ask("tcp", host=address, port=7000, send=said, end=True)
    assert answer["received"] == said
    assert answer["peer"] == address


@pytest.mark.parametrize("family", [4, 6])
def test_a_pod_sees_the_childs_connection_come_from_the_pod(inside: Inside, family: int) -> None:
    pod = inside.town.pods("app=peer")[0]
    addresses = {6 if ":" in one["ip"] else 4: one["ip"] for one in pod["status"]["podIPs"]}
    address = family_or_skip(addresses, family)
    own = next(one for one in inside.pod_addresses if (":" in one) == (family == 6))
    answer = inside.child.ask("tcp", host=address, port=8080, send=get("/whence"))
    assert f'"peer": "{own}"' in answer["received"]
    assert answer["own"] == own


@pytest.mark.parametrize("size", [1, 1200, 8000, 60000])
@pytest.mark.parametrize("family", [4, 6])
def test_a_datagram_goes_out_and_its_answer_comes_back_whole(
    inside: Inside, peer: dict[int, str], family: int, size: int
) -> None:
    address = family_or_skip(peer, family)
    answer = inside.child.ask("udp", host=address, port=7001, size=size, tries=3)
    assert answer == {"size": size, "same": True, "peer": address}


def test_udp_reaches_a_service_by_name(inside: Inside) -> None:
    assert inside.child.ask("udp", host="peer", port=7001, size=64, tries=3)["same"]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_port_of_localhost_on_which_nobody_inside_listens_is_the_hosts(
    inside: Inside, address: str
) -> None:
    with host_listener(address) as port:
        answer = inside.child.ask("tcp", host=address, port=port, send=get("/"))
        assert "the host itself" in answer["received"]


def test_what_the_child_listens_on_stays_its_own_on_localhost(inside: Inside) -> None:
    with host_listener("127.0.0.1") as port:
        inside.child.ask("listen", kind="echo", port=port, address="127.0.0.1")
        answer = inside.child.ask("tcp", host="127.0.0.1", port=port, send="to myself")
        assert answer["received"] == "to myself"


def test_a_child_on_a_port_still_reaches_that_port_of_a_service(inside: Inside) -> None:
    """The child listens on 8080 of every address; connections to 8080 of others must go out nevertheless."""
    answer = inside.child.ask("tcp", host="peers", port=8080, send=get("/"))
    assert '"who": "peer"' in answer["received"]


def test_a_closed_port_is_not_taken_for_an_open_one(inside: Inside) -> None:
    with pytest.raises(ProbeError) as refused:
        inside.child.ask("tcp", host="peers", port=9, send="x")
    assert refused.value.errno in REFUSED


def test_a_request_of_the_cluster_is_answered_by_the_child(inside: Inside) -> None:
    inside.town.ensure_customers_pod()
    answer = json.loads(inside.town.ask("http://target/some/path"))
    assert (answer["who"], answer["hostname"]) == ("laptop", inside.pod_name)
    assert (answer["path"], answer["host"]) == ("/some/path", "target")
    assert answer["own"] in inside.pod_addresses


@pytest.mark.parametrize("family", [4, 6])
def test_accept_and_getpeername_tell_the_address_of_the_client(inside: Inside, family: int) -> None:
    inside.town.ensure_customers_pod()
    client = {6 if ":" in one["ip"] else 4: one["ip"] for one in customers_addresses(inside.town)}
    own = {6 if ":" in one else 4: one for one in inside.pod_addresses}
    address = family_or_skip(own, family)
    host = f"[{address}]" if family == 6 else address
    assert json.loads(inside.town.ask(f"http://{host}:8080/"))["peer"] == client[family]


def customers_addresses(town: Namespace) -> list[dict[str, str]]:
    addresses: list[dict[str, str]] = town.get("pod", "customers")["status"]["podIPs"]
    return addresses


def test_a_large_request_of_the_cluster_arrives_whole(inside: Inside) -> None:
    program = (
        "import urllib.request as r; body = bytes(range(250)) * 4000\n"
        "print(r.urlopen('http://target/', data=body, timeout=30).read().decode())"
    )
    answer = json.loads(inside.town.python_in_pod("customers", program))
    assert (answer["length"], answer["sum"]) == (1_000_000, sum(range(250)) * 4000)


def test_names_that_the_cluster_serves_beyond_itself_are_resolved(inside: Inside) -> None:
    """CoreDNS of the project's own cluster knows `outside.example`, as a pod's resolver may know any."""
    if not inside.town.cluster.is_own:
        pytest.skip("only the project's own cluster has that name")
    assert inside.child.ask("resolve", name="outside.example")


def test_a_host_outside_of_the_cluster_answers_and_is_asked_from_the_clusters_side(inside: Inside) -> None:
    """By a name that only the cluster has. It is this machine's, whose own calls come from that address."""
    if not inside.town.cluster.is_own:
        pytest.skip("only the project's own cluster has that name")
    address = next(one for one in inside.child.ask("resolve", name="outside.example") if "." in one)
    with host_listener(address) as port:
        answer = inside.child.ask("tcp", host=address, port=port, send=get("/"))
        named = inside.child.ask("tcp", host="outside.example", port=port, send=get("/"))
    assert "the host itself" in answer["received"]
    assert "the host itself" in named["received"]
    assert f"asked by {address}." not in answer["received"]


def test_curl_in_a_shell_sees_what_the_others_see(town: Namespace, townsman: Product) -> None:
    """The third kind of child: programs that somebody else compiled, started by a shell."""
    settle(town, *target("other-target"))
    script = townsman.source("integration/probe/probe.sh")
    words = ("http://peer/by-curl", "/etc/target/config/colour", "TOKEN")
    ended = townsman.run("swap", "other-target", "--", "sh", script, *words)
    assert ended.code == 0, ended.err
    seen = dict(line.split("=", 1) for line in ended.out.splitlines())
    assert seen["hostname"].startswith("other-target-")
    assert '"who": "peer"' in seen["answer"]
    assert seen["file"] == "green"
    assert seen["variable"] == "s3cret-of-the-test"
    name_servers = town.in_pod("deployment/peer", "cat", "/etc/resolv.conf")
    assert f"nameserver {seen['nameserver']}" in name_servers


@contextlib.contextmanager
def host_listener(address: str) -> Iterator[int]:
    """An HTTP server on a loopback address of this host; its port."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f"the host itself, asked by {self.client_address[0]}.".encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in address else socket.AF_INET

    with Server((address, 0), Answer) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()
