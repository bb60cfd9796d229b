"""`edit` in one namespace is enough, also where Pod Security enforces `restricted`; so are exact rights."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import pytest

from integration.probe.manifests import Workload, probe_config_map
from integration.probe.swapping import swapped
from integration.probe.town import settle
from integration.support.aftermath import assert_nothing_touched, assert_restored, remember, sidecar_pods
from integration.support.namespaces import Namespace
from integration.support.product import Product


def may(product: Product, namespace: Namespace, *question: str) -> bool:
    program = namespace.cluster.kubectl_program
    command = [program, "--kubeconfig", str(product.kubeconfig), "auth", "can-i", *question]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() == "yes"


@pytest.mark.parametrize("namespace", ["restricted"], indirect=True)
def test_a_swap_needs_edit_in_one_namespace_and_lives_under_restricted(
    namespace: Namespace, product: Product
) -> None:
    assert may(product, namespace, "create", "pods", "-n", namespace.name)
    assert not may(product, namespace, "list", "pods", "--all-namespaces")
    assert not may(product, namespace, "list", "nodes")
    settle(namespace, probe_config_map(), *Workload("modest", replicas=3).objects())
    namespace.ensure_customers_pod()
    before = remember(namespace, "modest")
    with namespace.load("http://modest/") as tally:
        with swapped(product, "modest") as swap:
            assert json.loads(namespace.ask("http://modest/"))["who"] == "laptop"
            assert swap.end() == 0
        assert_restored(before)
    assert tally.failures == []


COMMON = (
    ("", "services", "list"),
    ("", "pods", "get list watch create patch delete"),
    ("", "pods/log", "get"),
    ("", "pods/portforward", "get create"),
)
EXACT = {
    "deployment": (("apps", "deployments", "get"), ("apps", "replicasets", "list")),
    "replicaset": (("apps", "replicasets", "get"), ("", "serviceaccounts", "get")),
    "replicationcontroller": (("", "replicationcontrollers", "get"), ("", "serviceaccounts", "get")),
}
"""What README.md and docs/workloads.md say, as group, resource and verbs."""


@pytest.mark.parametrize("kind", EXACT)
def test_the_rights_that_are_documented_for_a_kind_are_all_that_a_swap_needs(
    products: Callable[..., Product], town: Namespace, kind: str
) -> None:
    workload = Workload(f"exact-{kind}")
    settle(town, probe_config_map(), getattr(workload, kind)(), *workload.services())
    before = remember(town, workload.name, f"{kind}/{workload.name}")
    rules = [
        {"apiGroups": [group], "resources": [resource], "verbs": verbs.split()}
        for group, resource, verbs in (*COMMON, *EXACT[kind])
    ]
    product = products(kubeconfig=town.kubeconfig_with(rules))
    with swapped(product, f"{kind}/{workload.name}") as swap:
        assert swap.end() == 0
    assert_restored(before)


def test_exec_is_a_right_that_only_files_need(products: Callable[..., Product], town: Namespace) -> None:
    unread = Workload("unread", 1, ("echo:7000",), (), service=False)
    settle(town, probe_config_map(), *unread.objects())
    before = remember(town, "unread")
    rules = [
        {"apiGroups": [group], "resources": [resource], "verbs": verbs.split()}
        for group, resource, verbs in (*COMMON, *EXACT["deployment"])
    ]
    path = "/etc/debian_version"
    words = ("swap", "unread", "--ready", "now", "--file", path, "--", "cat", path)
    product = products(kubeconfig=town.kubeconfig_with(rules))
    ended = product.run(*words)
    assert (ended.code, ended.out) == (77, "")
    assert "get pods/exec" in ended.err
    assert_nothing_touched(before)
    rules.append({"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["get", "create"]})
    product = products(kubeconfig=town.kubeconfig_with(rules))
    ended = product.run(*words)
    assert ended.code == 0, ended.err
    assert ended.out == town.in_pod("deployment/unread", "cat", path)
    assert_restored(before)


def test_a_limit_range_is_obeyed(namespace: Namespace, product: Product) -> None:
    limits = {
        "type": "Container",
        "min": {"cpu": "20m", "memory": "48Mi"},
        "max": {"cpu": "2", "memory": "512Mi"},
        "default": {"cpu": "500m", "memory": "128Mi"},
        "defaultRequest": {"cpu": "20m", "memory": "48Mi"},
    }
    namespace.apply(
        {
            "apiVersion": "v1",
            "kind": "LimitRange",
            "metadata": {"name": "limits"},
            "spec": {"limits": [limits]},
        }
    )
    settle(namespace, probe_config_map(), *Workload("limited").objects())
    before = remember(namespace, "limited")
    with swapped(product, "limited") as swap:
        assert swap.end() == 0
    assert_restored(before)


def test_the_sidecar_asks_for_little_and_for_no_device(namespace: Namespace, product: Product) -> None:
    """Whatever the container that it stands in for asks for."""
    much = {"requests": {"cpu": "300m", "memory": "300Mi"}, "limits": {"memory": "400Mi"}}
    settle(namespace, probe_config_map(), *Workload("greedy", container={"resources": much}).objects())
    with swapped(product, "greedy") as swap:
        container = next(c for c in sidecar_pods(namespace)[0]["spec"]["containers"] if c["name"] == "main")
        assert container["resources"]["requests"]["cpu"] != "300m"
        assert container["resources"]["requests"]["memory"] != "300Mi"
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert swap.end() == 0


def test_no_secret_of_ours_is_in_the_cluster(namespace: Namespace, product: Product) -> None:
    settle(namespace, probe_config_map(), *Workload("frank").objects())
    names = {o["metadata"]["name"] for o in namespace.get("secrets,configmaps")}
    with swapped(product, "frank") as swap:
        assert {o["metadata"]["name"] for o in namespace.get("secrets,configmaps")} == names
        pod = json.dumps(sidecar_pods(namespace)[0])
        assert "PRIVATE KEY" not in pod
        assert swap.end() == 0
