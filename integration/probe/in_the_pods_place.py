"""What every method that has namespaces promises of a child that is swapped in among the town's peers."""

from __future__ import annotations

import json

import pytest

from integration.probe.asking import ProbeError
from integration.probe.swapping import Swap
from integration.probe.town import SERVICE_ACCOUNT
from integration.support.aftermath import sidecar_pods
from integration.support.namespaces import Namespace


def assert_connect_tells_the_truth(swap: Swap, town: Namespace) -> None:
    """And UDP comes and goes."""
    address = town.pods("app=peer")[0]["status"]["podIP"]
    answer = swap.probe.ask("tcp", host="peer", port=7000, send="there and back")
    assert answer["received"] == "there and back"
    with pytest.raises(ProbeError) as caught:
        swap.probe.ask("tcp", host=address, port=9, send="x")
    assert caught.value.errno == "ECONNREFUSED"
    swap.probe.ask("udp", host="peer", port=7001, size=1000, tries=3)


def assert_addresses_names_and_files(swap: Swap, town: Namespace, workload: str) -> None:
    """They are the pod's, and a volume is written in place."""
    (pod,) = sidecar_pods(town, workload)
    assert swap.probe.ask("addresses") == sorted(one["ip"] for one in pod["status"]["podIPs"])
    assert swap.probe.ask("hostname") == pod["metadata"]["name"]
    assert swap.probe.ask("resolve", name="kubernetes.default.svc.cluster.local")
    assert swap.probe.content(f"{SERVICE_ACCOUNT}/namespace").decode() == town.name
    assert swap.probe.content("/etc/target/config/colour").decode().strip() == "green"
    swap.probe.ask("write", path="/var/lib/target/from-laptop", text="written")
    assert swap.probe.content("/var/lib/target/from-laptop") == b"written"


def assert_the_child_answers(town: Namespace, workload: str) -> None:
    """A request to the Service of that name."""
    answer = json.loads(town.ask(f"http://{workload}/hello", seconds=30))
    assert (answer["who"], answer["path"]) == ("laptop", "/hello")
