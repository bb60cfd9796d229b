"""What the cluster sends to the workload arrives in the child."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from integration.probe.manifests import Workload, probe_config_map, service
from integration.probe.swapping import Swap, python_probe, swapped
from integration.probe.town import settle
from integration.support.aftermath import SESSION_LABEL, assert_restored, remember, sidecar_pods
from integration.support.namespaces import Namespace
from integration.support.product import Product

REPLICAS = 3
LOW_PORT = 81
ASK_MANY = """\
import json, sys, concurrent.futures, urllib.request
def ask(n):
    with urllib.request.urlopen(sys.argv[1], timeout=30) as answer:
        return json.loads(answer.read())
with concurrent.futures.ThreadPoolExecutor(40) as many:
    print(json.dumps(list(many.map(ask, range(int(sys.argv[2]))))))
"""
SEND_DATAGRAMS = """\
import json, socket, sys
def answered(host, port):
    body = bytes(i % 251 for i in range(int(sys.argv[2])))
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as flow:
        flow.settimeout(2)
        flow.connect((host, port))
        for _ in range(int(sys.argv[3])):
            try:
                flow.send(body)
                return flow.recv(65536) == body
            except OSError:
                pass
    return False
print(json.dumps([answered(*end) for end in json.loads(sys.argv[1])]))
"""
POST = """\
import sys, urllib.request
body = bytes(i % 251 for i in range(int(sys.argv[2])))
print(urllib.request.urlopen(sys.argv[1], data=body, timeout=60).read().decode(), sum(body))
"""
OTHER_METHODS = """\
import json, sys, urllib.request
def ask(method, body):
    request = urllib.request.Request(sys.argv[1], body, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())
print(json.dumps([ask("PUT", bytes(range(250))), ask("DELETE", None)]))
"""
TALK = """\
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 20) as talking:
    answers = talking.makefile("r")
    for line in sys.stdin:
        talking.sendall(line.encode())
        print(answers.readline(), end="", flush=True)
"""


@pytest.fixture(scope="module")
def crossing(town: Namespace) -> Namespace:
    """The town with `inbound`: three replicas, a port below 1024, one on loopback, and a UDP port."""
    low = {"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}
    ports = [
        {"name": "http", "containerPort": 8080},
        {"name": "low", "containerPort": LOW_PORT},
        {"name": "datagrams", "containerPort": 7001, "protocol": "UDP"},
    ]
    inbound = Workload(
        "inbound",
        replicas=REPLICAS,
        listen=("http:8080", f"http:{LOW_PORT}", "udp:7001"),
        ports=tuple(ports),
        pod={"securityContext": {"sysctls": [low]}},
    )
    front = service("inbound-low", 80, "low", selector={"app": "inbound"})
    # a port of the Service alone: no container declares it
    undeclared = service("inbound-undeclared", 80, 8090, selector={"app": "inbound"})
    datagrams = service("inbound-udp", 53, "datagrams", selector={"app": "inbound"})
    datagrams["spec"]["ports"][0] |= {"name": "udp", "protocol": "UDP"}
    settle(town, probe_config_map(), front, undeclared, datagrams, *inbound.objects())
    return town


@pytest.fixture(scope="module")
def inbound(crossing: Namespace, townsman: Product) -> Iterator[Swap]:
    before = remember(crossing, "inbound")
    listens = ("http:8080", f"http:{LOW_PORT}", "http:8090@127.0.0.1", "udp:5353")
    child = python_probe(townsman, *listens)
    with swapped(townsman, "deployment/inbound", "-p", "5353:7001/udp", child=child) as swap:
        yield swap
        assert swap.end() == 0
    assert_restored(before)


def asked(town: Namespace, url: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(town.ask(url))
    return answer


def asked_often(town: Namespace, url: str, times: int) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = json.loads(town.python_in_pod("customers", ASK_MANY, url, str(times)))
    return answers


def test_a_request_to_the_service_is_answered_by_the_child(inbound: Swap, crossing: Namespace) -> None:
    answer = asked(crossing, "http://inbound/some/path?q=1")
    assert answer["who"] == "laptop"
    assert answer["path"] == "/some/path?q=1"
    assert answer["host"] == "inbound"


def test_every_replica_is_the_child(inbound: Swap, crossing: Namespace) -> None:
    pods = sidecar_pods(crossing, "inbound")
    assert len(pods) == REPLICAS
    for pod in pods:
        assert asked(crossing, f"http://{pod['status']['podIP']}:8080/")["who"] == "laptop"


def test_the_child_on_loopback_hears_of_the_clients_address_as_well(
    inbound: Swap, crossing: Namespace
) -> None:
    """What trusts loopback must not take the cluster for it."""
    client = crossing.get("pod", "customers")["status"]["podIP"]
    address = sidecar_pods(crossing, "inbound")[0]["status"]["podIP"]
    assert asked(crossing, f"http://{address}:8090/")["peer"] == client


def test_many_requests_at_once_are_all_answered_by_the_child(inbound: Swap, crossing: Namespace) -> None:
    answers = asked_often(crossing, "http://inbound/", 400)
    assert Counter(answer["who"] for answer in answers) == {"laptop": 400}


@pytest.mark.parametrize("family", [4, 6])
def test_both_families_of_a_service_lead_to_the_child(
    inbound: Swap, crossing: Namespace, family: int
) -> None:
    addresses = crossing.get("service", "inbound")["spec"]["clusterIPs"]
    fitting = [address for address in addresses if (":" in address) == (family == 6)]
    if not fitting:
        pytest.skip(f"the cluster has no IPv{family}")
    host = f"[{fitting[0]}]" if family == 6 else fitting[0]
    assert asked(crossing, f"http://{host}/")["who"] == "laptop"


def test_a_port_below_1024_arrives(inbound: Swap, crossing: Namespace) -> None:
    assert asked(crossing, "http://inbound-low/")["who"] == "laptop"


def test_a_port_that_only_a_service_names_arrives_at_a_child_on_loopback(
    inbound: Swap, crossing: Namespace
) -> None:
    assert asked(crossing, "http://inbound-undeclared/")["who"] == "laptop"


def test_a_large_request_arrives_whole(inbound: Swap, crossing: Namespace) -> None:
    size = 8_000_000
    said = crossing.python_in_pod("customers", POST, "http://inbound/", str(size))
    answer, _, expected = said.rpartition(" ")
    assert json.loads(answer) == {"who": "laptop", "length": size, "sum": int(expected)}


def test_put_and_delete_arrive_as_such(inbound: Swap, crossing: Namespace) -> None:
    put, delete = json.loads(crossing.python_in_pod("customers", OTHER_METHODS, "http://inbound/some/thing"))
    common = {"who": "laptop", "path": "/some/thing"}
    assert put == common | {"method": "PUT", "length": 250, "sum": sum(range(250))}
    assert delete == common | {"method": "DELETE", "length": 0, "sum": 0}


def test_accepted_connections_outlive_their_listener(inbound: Swap, crossing: Namespace) -> None:
    inbound.probe.ask("close", port=8080)
    inbound.probe.ask("listen", kind="echo", port=8080)
    try:
        with talking(crossing, "inbound", 80) as say:
            assert say("before") == "before"
            inbound.probe.ask("close", port=8080)
            assert say("after") == "after"
    finally:
        inbound.probe.ask("listen", kind="http", port=8080)


@contextlib.contextmanager
def talking(town: Namespace, host: str, port: int) -> Iterator[Callable[[str], str]]:
    """A connection from the customers' pod; a word that is sent there is returned as it comes back."""
    command = ("exec", "-i", "customers", "--", "python3", "-c", TALK, host, str(port))
    with subprocess.Popen(
        town.cluster.kubectl_command("-n", town.name, *command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        sending, coming = client.stdin, client.stdout

        def say(word: str) -> str:
            sending.write(f"{word}\n")
            sending.flush()
            return coming.readline().rstrip("\n")

        yield say


def test_slow_answers_do_not_hold_up_others(inbound: Swap, crossing: Namespace) -> None:
    with ThreadPoolExecutor(1) as beside:
        slow = beside.submit(asked, crossing, "http://inbound/slow/3")
        assert asked(crossing, "http://inbound/")["who"] == "laptop"
        assert not slow.done()
        assert slow.result()["who"] == "laptop"


def test_a_request_waits_while_the_child_restarts_its_server(inbound: Swap, crossing: Namespace) -> None:
    inbound.probe.ask("close", port=8080)
    with ThreadPoolExecutor(1) as beside:
        waiting = beside.submit(asked, crossing, "http://inbound/held")
        with pytest.raises(TimeoutError):
            waiting.result(1.5)
        inbound.probe.ask("listen", kind="http", port=8080)
        assert waiting.result(15)["who"] == "laptop"


def test_readiness_waits_for_udp_ports_as_for_others(inbound: Swap) -> None:
    assert f"to listen on {LOW_PORT}, 5353/udp, 8080" in inbound.running.err


@pytest.mark.parametrize("size", [1, 1200, 60000])
def test_datagrams_to_service_and_pods_are_answered_by_the_child_from_where_they_were_sent_to(
    inbound: Swap, crossing: Namespace, size: int
) -> None:
    """Over each family; the client's sockets are connected, so that answers of others are not heard. The
    original listens on 7001, and on nothing that a Service's port 53 could reach but that."""
    ends = [(address, 53) for address in crossing.get("service", "inbound-udp")["spec"]["clusterIPs"]]
    pods = sidecar_pods(crossing, "inbound")
    ends += [(address["ip"], 7001) for pod in pods for address in pod["status"]["podIPs"]]
    assert len(ends) > REPLICAS
    answers = json.loads(
        crossing.python_in_pod("customers", SEND_DATAGRAMS, json.dumps(ends), str(size), "3")
    )
    assert answers == [True] * len(ends)


def test_datagrams_reach_a_child_that_starts_its_server_again(inbound: Swap, crossing: Namespace) -> None:
    address = sidecar_pods(crossing, "inbound")[0]["status"]["podIP"]
    ends = json.dumps([(address, 7001)])
    inbound.probe.ask("close", port=5353)
    assert json.loads(crossing.python_in_pod("customers", SEND_DATAGRAMS, ends, "10", "1")) == [False]
    inbound.probe.ask("listen", kind="udp", port=5353)
    assert json.loads(crossing.python_in_pod("customers", SEND_DATAGRAMS, ends, "10", "3")) == [True]


def test_a_pod_port_is_led_to_another_port_of_the_child(town: Namespace, townsman: Product) -> None:
    """-p overrides that pod port."""
    child = python_probe(townsman, "http:9001")
    with swapped(townsman, "target", "-p", "9001:8080", child=child) as swap:
        assert asked(town, "http://target/")["who"] == "laptop"
        assert swap.end() == 0


def test_a_workload_without_ports_is_in_place_at_once(town: Namespace, townsman: Product) -> None:
    """A queue consumer has nothing to listen on, and its original must stop all the same."""
    settle(town, Workload("consumer", listen=(), ports=(), service=False).deployment())
    before = remember(town, "consumer")
    with swapped(townsman, "consumer", child=python_probe(townsman)) as swap:
        computing = [pod for pod in town.pods("app=consumer") if pod["status"]["phase"] == "Running"]
        # the object of one that has ended may stay for a moment
        assert [SESSION_LABEL in pod["metadata"]["labels"] for pod in computing] == [True]
        assert swap.end() == 0
    assert_restored(before)


def test_ready_now_does_not_wait_for_the_child_to_listen(town: Namespace, townsman: Product) -> None:
    with swapped(townsman, "target", "--ready", "now", child=python_probe(townsman)) as swap:
        with ThreadPoolExecutor(1) as beside:
            waiting = beside.submit(asked, town, "http://target/")
            swap.probe.ask("listen", kind="http", port=8080)
            assert waiting.result(15)["who"] == "laptop"
        assert swap.end() == 0


@pytest.fixture(scope="module")
def pair(town: Namespace) -> Namespace:
    """The town with `pair`: containers `main` and `other`, of which a Service targets the second."""
    other = Workload("other", listen=("http:8081",), ports=({"name": "other", "containerPort": 8081},))
    sibling = other.main_container() | {"name": "other"}
    both = Workload("pair", siblings=(sibling,), service=False)
    settle(town, both.deployment(), service("pair", 80, "other"))
    return town


@pytest.mark.parametrize(
    ("word", "container", "port"), [("pair", "other", 8081), ("pair:main", "main", 8080)]
)
def test_the_container_is_the_one_that_is_named_else_that_of_a_service(
    pair: Namespace, townsman: Product, word: str, container: str, port: int
) -> None:
    with swapped(townsman, word, child=python_probe(townsman, f"http:{port}")) as swap:
        assert f"container {container}" in swap.running.err
        pod = sidecar_pods(pair, "pair")[0]
        assert asked(pair, f"http://{pod['status']['podIP']}:{port}/")["who"] == "laptop"
        untouched = {8080: 8081, 8081: 8080}[port]
        assert asked(pair, f"http://{pod['status']['podIP']}:{untouched}/")["who"] == "cluster"
        assert swap.end() == 0
