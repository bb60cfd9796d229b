"""Pods of every shape: many of them, with helpers of each kind, Ready late or by somebody's word, and with
volumes that only one node or one pod may have."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from integration.probe.asking import Probe
from integration.probe.manifests import BASE_IMAGE, RESTRICTED, Object, Workload, probe_config_map
from integration.probe.swapping import Swap, python_probe, swapped
from integration.probe.town import settle
from integration.support.aftermath import (
    SESSION_LABEL,
    assert_nothing_touched,
    assert_restored,
    is_ready,
    remember,
    sidecar_pods,
)
from integration.support.namespaces import Namespace
from integration.support.product import Product
from integration.support.waiting import wait_until

GATE = "example.com/balanced"


def test_ten_replicas_are_swapped_and_restored_without_a_failed_request(
    namespace: Namespace, product: Product
) -> None:
    settle(namespace, probe_config_map(), *Workload("many", replicas=10).objects())
    before = remember(namespace, "many")
    with namespace.load("http://many/") as tally:
        with swapped(product, "many") as swap:
            assert len(sidecar_pods(namespace, "many")) == 10
            assert swap.end(seconds=120) == 0
        assert_restored(before)
    assert set(tally.answers) == {"cluster", "laptop"}
    assert tally.failures == []


# -- more than one container -----------------------------------------------------------------------------


def helper(name: str, port: int, **more: Any) -> Object:
    """A container that answers with its name on that port."""
    container = Workload(name, listen=(f"http:{port}",), who=name).main_container()
    return container | {"name": name, "ports": [{"containerPort": port}]} | more


def crew() -> Workload:
    """`main` with an init container that fills a volume, an ordinary helper and a native sidecar."""
    shared = {"name": "shared", "mountPath": "/srv/shared"}
    filling = {
        "name": "filling",
        "image": BASE_IMAGE,
        "command": ["sh", "-c", "echo filled >/srv/shared/file"],
        "volumeMounts": [shared],
        "securityContext": RESTRICTED,
    }
    return Workload(
        "crew",
        container={"volumeMounts": [shared]},
        pod={
            "initContainers": [filling, helper("native", 8082, restartPolicy="Always")],
            "volumes": [{"name": "shared", "emptyDir": {}}],
            "securityContext": {"fsGroup": RESTRICTED["runAsUser"]},
        },
        siblings=(helper("ordinary", 8081),),
    )


@pytest.fixture(scope="module")
def manned(town: Namespace) -> Namespace:
    """A namespace with the crew, which calls itself available only after some seconds."""
    deployment, *services = crew().objects()
    deployment["spec"]["minReadySeconds"] = 4
    settle(town, probe_config_map(), deployment, *services)
    return town


def test_helpers_of_every_kind_live_on_beside_the_local_process(manned: Namespace, townsman: Product) -> None:
    before = remember(manned, "crew")
    with manned.load("http://crew/") as tally:
        with swapped(townsman, "crew:main") as swap:
            (pod,) = sidecar_pods(manned, "crew")
            assert swap.probe.content("/srv/shared/file") == b"filled\n"
            address = pod["status"]["podIP"]
            for name, port in (("ordinary", 8081), ("native", 8082)):
                answer = swap.probe.ask("tcp", host=address, port=port, send="GET / HTTP/1.0\r\n\r\n")
                assert f'"who": "{name}"' in answer["received"]
                assert json.loads(manned.ask(f"http://{address}:{port}/"))["who"] == name
            assert swap.end() == 0
        assert_restored(before)
    assert set(tally.answers) == {"cluster", "laptop"}
    assert tally.failures == []


def test_a_pod_of_helpers_ends_with_its_sidecar_when_the_session_is_killed(
    manned: Namespace, townsman: Product
) -> None:
    before = remember(manned, "crew")
    with swapped(townsman, "crew:main", "--grace", "3s") as swap:
        os.kill(swap.running.session_pid(), signal.SIGKILL)
        swap.running.wait()

    def healed() -> bool:
        ended = all(pod["status"]["phase"] == "Succeeded" for pod in sidecar_pods(manned, "crew"))
        originals = manned.pods(f"app=crew,!{SESSION_LABEL}")
        return ended and len(originals) == 1 and is_ready(originals[0])

    wait_until(healed, 120, "the original is back by itself", seen=lambda: manned.kubectl("get", "pods"))
    assert townsman.run("restore", "crew").code == 0
    assert_restored(before)


# -- readiness by somebody's word ------------------------------------------------------------------------


def balance(namespace: Namespace, pod: str) -> None:
    """Set the gate, as the controller of a load balancer does."""
    condition = {"type": GATE, "status": "True"}
    patch = json.dumps({"status": {"conditions": [condition]}})
    namespace.kubectl("patch", "pod", pod, "--subresource=status", "-p", patch)


def wait_for_pod(namespace: Namespace, selector: str, known: str = "") -> str:
    def new() -> str | None:
        names = [pod["metadata"]["name"] for pod in namespace.pods(selector)]
        return next((name for name in names if name != known), None)

    return wait_until(new, 90, f"a pod {selector} is there")


def test_a_readiness_gate_is_told_and_waited_for_both_ways(namespace: Namespace, product: Product) -> None:
    originals = f"app=gated,!{SESSION_LABEL}"
    gated = Workload("gated", pod={"readinessGates": [{"conditionType": GATE}]})
    namespace.apply(probe_config_map(), *gated.objects())
    original = wait_for_pod(namespace, originals)
    balance(namespace, original)
    namespace.wait_rolled_out("gated")
    before = remember(namespace, "gated")
    running = product.start("swap", "gated", "--", *python_probe(product, "http:8080"), pipe_stdout=True)
    swap = Swap(running, Probe(running.process))
    (said,) = running.wait_err(rf"Waiting until somebody sets the readiness gate {GATE} of (\S+)").groups()
    (sidecar,) = sidecar_pods(namespace, "gated")
    assert said == sidecar["metadata"]["name"]
    assert sidecar["metadata"]["ownerReferences"][0]["kind"] == "Deployment", "it is held back"
    assert is_ready(namespace.pods(originals)[0]), "the original is not touched"
    balance(namespace, said)
    running.wait_in_place()
    assert swap.probe.carrier.stdin is not None
    swap.probe.carrier.stdin.close()
    restored = wait_for_pod(namespace, originals, known=original)
    running.wait_err(f"readiness gate {GATE} of {restored}")
    assert is_ready(sidecar_pods(namespace, "gated")[0]), "the sidecar serves on until then"
    balance(namespace, restored)
    assert running.wait() == 0
    assert_restored(before)


# -- volumes ---------------------------------------------------------------------------------------------


@pytest.fixture
def claim(namespace: Namespace) -> Iterator[Callable[..., Object]]:
    """`claim(mode, node)` makes a volume, which goes with the test, and its claim; the pod's volume entry."""
    made = []

    def make(mode: str, node: str = "") -> Object:
        name = f"{namespace.name}-{mode.lower()}"
        spec: Object = {
            "capacity": {"storage": "1Mi"},
            "accessModes": [mode],
            "storageClassName": "",
            "hostPath": {"path": "/srv"},
            "claimRef": {"namespace": namespace.name, "name": "data"},
        }
        if node:
            hostname = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
            terms = {"nodeSelectorTerms": [{"matchExpressions": [hostname]}]}
            spec["nodeAffinity"] = {"required": terms}
        wanted = {
            "accessModes": [mode],
            "storageClassName": "",
            "volumeName": name,
            "resources": {"requests": {"storage": "1Mi"}},
        }
        made.append(name)
        namespace.apply(
            {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec},
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": "data"},
                "spec": wanted,
            },
        )
        return {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}

    yield make
    for name in made:
        namespace.cluster.kubectl("delete", "persistentvolume", name, "--wait=false")


@pytest.mark.parametrize("bound", [True, False], ids=["bound to a node", "attached to any node"])
def test_a_volume_of_one_node_is_had_side_by_side(
    namespace: Namespace, product: Product, claim: Callable[..., Object], bound: bool
) -> None:
    node = namespace.cluster.get("nodes")[-1]["metadata"]["labels"]["kubernetes.io/hostname"] if bound else ""
    mount = {"name": "data", "mountPath": "/srv/data"}
    disk = Workload(
        "disk", pod={"volumes": [claim("ReadWriteOnce", node)]}, container={"volumeMounts": [mount]}
    )
    settle(namespace, probe_config_map(), *disk.objects())
    before = remember(namespace, "disk")
    original = namespace.pods("app=disk")[0]["spec"]["nodeName"]
    beside = product.run("run", "--like", "disk", "--", "true")
    assert beside.code == 0, beside.err
    assert f"the new pod goes to the same node, {original}" in beside.err
    with namespace.load("http://disk/") as tally:
        with swapped(product, "disk") as swap:
            (pod,) = sidecar_pods(namespace, "disk")
            assert pod["spec"]["nodeName"] == original
            assert original in json.dumps(pod["spec"]["affinity"]["nodeAffinity"])
            assert swap.end() == 0
        assert_restored(before)
    assert tally.failures == []


def test_a_volume_of_one_pod_is_refused_with_the_reason(
    namespace: Namespace, product: Product, claim: Callable[..., Object]
) -> None:
    alone = Workload("alone", pod={"volumes": [claim("ReadWriteOncePod")]})
    settle(namespace, probe_config_map(), *alone.objects())
    before = remember(namespace, "alone")
    ended = product.run("swap", "alone", "--", "true")
    assert ended.code == 78
    assert "ReadWriteOncePod" in ended.err
    assert "data" in ended.err
    assert_nothing_touched(before)
