"""`--method redirect`: the pod's world on kernels without tproxy, as far as it promises."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from integration.probe.asking import ProbeError
from integration.probe.manifests import Workload, probe_config_map
from integration.probe.swapping import Swap, python_probe, swapped
from integration.probe.town import SERVICE_ACCOUNT, peers, settle
from integration.support.aftermath import assert_no_process_left, assert_restored, remember, sidecar_pods
from integration.support.namespaces import Namespace
from integration.support.product import Product
from integration.test_inbound import SEND_DATAGRAMS


@pytest.fixture(scope="module")
def redirected(town: Namespace, townsman: Product) -> Iterator[Swap]:
    ports = (
        {"name": "http", "containerPort": 8080},
        {"name": "datagrams", "containerPort": 7001, "protocol": "UDP"},
    )
    workload = Workload("redirected", listen=("http:8080", "udp:7001"), ports=ports)
    settle(town, *peers(), probe_config_map(), *workload.objects())
    before = remember(town, "redirected")
    child = python_probe(townsman, "http:8080", "udp:7001")
    with swapped(townsman, "redirected", "--method", "redirect", child=child) as swap:
        yield swap
        assert swap.end() == 0
    assert_restored(before)
    assert_no_process_left(townsman)


def test_what_it_cannot_do_is_said_before_anything_is_touched(redirected: Swap) -> None:
    told, _, after = redirected.running.err.partition("Connected to ")
    assert "shows as a reset" in told
    assert "The command's localhost is its own" in told
    assert "isolated by user namespace with redirection (--method redirect)" in after


def test_tcp_and_udp_go_out_by_name_from_the_pods_address(redirected: Swap, town: Namespace) -> None:
    (pod,) = sidecar_pods(town, "redirected")
    own = {one["ip"] for one in pod["status"]["podIPs"]}
    for _ in range(3):
        answer = redirected.probe.ask("tcp", host="peer", port=7000, send="there and back")
        assert answer["received"] == "there and back"
        assert answer["own"] in own
        redirected.probe.ask("udp", host="peer", port=7001, size=1000, tries=3)


def test_both_families_lead_to_a_pod(redirected: Swap, town: Namespace) -> None:
    for one in town.pods("app=peer")[0]["status"]["podIPs"]:
        answer = redirected.probe.ask("tcp", host=one["ip"], port=7000, send="hello")
        assert (answer["received"], answer["peer"]) == ("hello", one["ip"])
        redirected.probe.ask("udp", host=one["ip"], port=7001, size=10, tries=3)


def test_a_refused_connection_is_told_by_a_reset(redirected: Swap, town: Namespace) -> None:
    address = town.pods("app=peer")[0]["status"]["podIP"]
    with pytest.raises(ProbeError) as caught:
        redirected.probe.ask("tcp", host=address, port=9, send="x")
    assert caught.value.errno in ("ECONNRESET", "EPIPE")


def test_names_and_files_are_the_pods(redirected: Swap, town: Namespace) -> None:
    assert redirected.probe.ask("resolve", name="kubernetes.default.svc.cluster.local")
    assert redirected.probe.content(f"{SERVICE_ACCOUNT}/namespace").decode() == town.name


def test_a_request_to_the_service_is_answered_by_the_child(redirected: Swap, town: Namespace) -> None:
    answer = json.loads(town.ask("http://redirected/hello", seconds=30))
    assert (answer["who"], answer["path"]) == ("laptop", "/hello")


def test_datagrams_to_the_pod_are_answered_by_the_child(redirected: Swap, town: Namespace) -> None:
    (pod,) = sidecar_pods(town, "redirected")
    ends = [(one["ip"], 7001) for one in pod["status"]["podIPs"]]
    answers = town.python_in_pod("customers", SEND_DATAGRAMS, json.dumps(ends), "1200", "3")
    assert json.loads(answers) == [True] * len(ends)
