"""The project's own cluster is a real one, as far away as any, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest

from integration.probe.manifests import Workload, probe_config_map
from integration.support.cluster import CLUSTER_TOOL, Cluster
from integration.support.namespaces import Namespace
from integration.support.waiting import wait_until

SEEN_BY_CLIENT = """\
import json, socket, sys, urllib.request
answers = {}
for host, port in json.loads(sys.argv[1]):
    try:
        with socket.create_connection((host, port), 5) as connection:
            answers[host] = connection.getpeername()[0]
    except OSError as problem:
        answers[host] = str(problem)
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def pair(namespaces: Callable[..., Namespace]) -> Namespace:
    """A namespace with a web server on every node, behind one Service, and somebody who asks."""
    namespace = namespaces("cluster")
    web = Workload("web", replicas=2, listen=("http:8080",)).objects()
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }
    web[0]["spec"]["template"]["spec"]["topologySpreadConstraints"] = [spread]
    namespace.apply(probe_config_map(), *web)
    namespace.ensure_customers_pod()
    namespace.wait_rolled_out("web")
    return namespace


def reached(namespace: Namespace, *ends: tuple[str, int]) -> dict[str, str]:
    """By host: the address that answered, or why none did."""
    answers: dict[str, str] = json.loads(
        namespace.python_in_pod("customers", SEEN_BY_CLIENT, json.dumps(ends))
    )
    return answers


def pod_addresses(namespace: Namespace) -> list[str]:
    return [entry["ip"] for pod in namespace.pods("app=web") for entry in pod["status"]["podIPs"]]


def test_pods_reach_pods_on_every_node_by_both_address_families(pair: Namespace) -> None:
    addresses = pod_addresses(pair)
    assert len({pod["spec"]["nodeName"] for pod in pair.pods("app=web")}) == 2
    assert sorted(":" in address for address in addresses) == [False, False, True, True]
    assert reached(pair, *((address, 8080) for address in addresses)) == {a: a for a in addresses}


def test_services_have_and_answer_on_both_address_families(pair: Namespace) -> None:
    addresses = pair.get("service", "web")["spec"]["clusterIPs"]
    assert [":" in address for address in addresses] == [False, True]
    assert reached(pair, *((address, 80) for address in addresses)) == {a: a for a in addresses}


def test_a_pod_sees_the_address_of_the_pod_that_calls(pair: Namespace) -> None:
    customer = pair.get("pod", "customers")["status"]["podIPs"]
    server = (
        "import socket; s = socket.create_server(('::', 9000), family=socket.AF_INET6, dualstack_ipv6=True)\n"
    )
    server += "print('listening', flush=True)\n"
    server += "for _ in range(2): print(s.accept()[1][0].removeprefix('::ffff:'), flush=True)"
    for pod in pair.pods("app=web"):
        command = pair.cluster.kubectl_command(
            "-n", pair.name, "exec", pod["metadata"]["name"], "--", "python3", "-c", server
        )
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listening:
            assert listening.stdout is not None
            assert listening.stdout.readline() == "listening\n"
            reached(pair, *((entry["ip"], 9000) for entry in pod["status"]["podIPs"]))
            assert listening.stdout.read().split() == [entry["ip"] for entry in customer]


def test_names_are_resolved_in_the_cluster_alone(pair: Namespace) -> None:
    answers = reached(pair, ("web", 80), (f"web.{pair.name}.svc.cluster.local", 80))
    assert set(answers.values()) <= set(pair.get("service", "web")["spec"]["clusterIPs"])
    with pytest.raises(OSError, match=r"\[Errno -"):
        socket.getaddrinfo(f"web.{pair.name}.svc.cluster.local", 80)


@pytest.mark.own_cluster
def test_pod_and_service_addresses_cannot_be_reached_from_this_machine(pair: Namespace) -> None:
    for address in pod_addresses(pair) + pair.get("service", "web")["spec"]["clusterIPs"]:
        with pytest.raises(OSError, match=r"unreachable|No route"):
            socket.create_connection((address, 80), 5)


@pytest.mark.own_cluster
def test_the_api_server_reaches_services_so_that_webhooks_work(pair: Namespace) -> None:
    answer = pair.cluster.kubectl("get", "--raw", f"/api/v1/namespaces/{pair.name}/services/web:80/proxy/")
    assert "cluster" in answer


@pytest.mark.own_cluster
def test_kubelets_want_a_certificate(cluster: Cluster) -> None:
    unverified = ssl._create_unverified_context()
    for node in cluster.get("nodes"):
        address = node["status"]["addresses"][0]["address"]
        with pytest.raises(urllib.error.HTTPError, match="401") as refused:
            urllib.request.urlopen(f"https://{address}:10250/pods", timeout=5, context=unverified)
        refused.value.close()


@pytest.mark.own_cluster
@pytest.mark.alone
def test_the_api_server_can_be_restarted(pair: Namespace) -> None:
    before = pair.pods("app=web")
    subprocess.run([CLUSTER_TOOL, "restart-apiserver", "0"], check=True)
    wait_until(lambda: len(pair.pods("app=web")) == len(before), 20, "the API server answers again")
    assert [pod["metadata"]["uid"] for pod in pair.pods("app=web")] == [
        pod["metadata"]["uid"] for pod in before
    ]


@pytest.mark.own_cluster
@pytest.mark.alone
def test_down_leaves_nothing_on_the_machine(tmp_path: object) -> None:
    """On a second cluster beside the one that the tests use."""
    second = os.environ | {"TELEPRESENCE_PY_CLUSTER_NUMBER": "1"}

    def tool(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [CLUSTER_TOOL, *arguments], env=second, capture_output=True, text=True, timeout=180, check=False
        )

    try:
        up = tool("up", "1")
        assert up.returncode == 0, up.stderr
        there = tool("verify-gone")
        assert there.returncode == 1
        for kind in ("directory", "network namespace", "link", "route", "cgroup", "process"):
            assert f"\n{kind} " in there.stderr, f"verify-gone does not notice a {kind}"
    finally:
        tool("down")
    gone = tool("verify-gone")
    assert (gone.returncode, gone.stderr) == (0, "")
