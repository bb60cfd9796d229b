"""`edit` in one namespace is enough, also where Pod Security enforces `restricted`; so are exact rights."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from integration.probe.manifests import Workload, probe_config_map
from integration.probe.swapping import swapped
from integration.probe.town import settle
from integration.support.aftermath import assert_nothing_touched, assert_restored, remember, sidecar_pods
from integration.support.cluster import Cluster
from integration.support.events import events_about
from integration.support.namespaces import Namespace
from integration.support.product import Product
from telepresence_py.cluster.access import ACCOUNT_RIGHTS, FILE_RIGHTS, SERVICE_RIGHTS, Right, swap_rights

MakeProduct = Callable[..., Product]


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


PAGE = Path(__file__).parents[1] / "docs" / "rbac.md"


def documented(cluster: Cluster, name: str) -> list[dict[str, Any]]:
    """The rules of the Role of that name, as docs/rbac.md has them."""
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (text,) = (block for block in blocks if f"telepresence-py-{name}}}" in block)
    role = cluster.kubectl("create", "--dry-run=client", "-o", "json", "-f", "-", stdin=text)
    rules: list[dict[str, Any]] = json.loads(role)["rules"]
    return rules


def rules_of(rights: Iterable[Right]) -> list[dict[str, Any]]:
    return [
        {"apiGroups": [right.group], "resources": [right.resource], "verbs": [right.verb]} for right in rights
    ]


def test_the_documented_roles_are_enough_to_swap_and_for_a_colleague_to_restore(
    products: MakeProduct, town: Namespace
) -> None:
    settle(town, probe_config_map(), *Workload("exact").objects())
    before = remember(town, "exact")

    def somebody(name: str) -> Product:
        return products(kubeconfig=town.kubeconfig_with(documented(town.cluster, name)))

    swapper, onlooker, colleague = somebody("swap"), somebody("list"), somebody("restore")
    with swapped(swapper, "exact") as swap:
        table = onlooker.run("list")
        assert table.code == 0, table.err
        assert re.search(r"deployment/exact +live", table.out)
        told = colleague.run("restore", "exact", "--force", "--dry-run")
        assert told.code == 0, told.err
        forced = colleague.run("restore", "exact", "--force")
        assert forced.code == 0, forced.err
        assert swap.running.wait() == 75
    assert_restored(before)
    assert events_about(town, "exact") == [], "without the right to, nobody is told"


def test_the_documented_role_is_enough_to_run_and_with_two_more_rights_to_expose(
    products: MakeProduct, town: Namespace
) -> None:
    rules = documented(town.cluster, "run")
    product = products(kubeconfig=town.kubeconfig_with(rules))
    ran = product.run("run", "--", "hostname")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("run-")
    refused = product.run("run", "--name", "exact-run", "--expose", "8080", "--", "true")
    assert refused.code == 77
    assert "get services" in refused.err
    product = products(kubeconfig=town.kubeconfig_with([*rules, *rules_of(SERVICE_RIGHTS)]))
    ran = product.run("run", "--name", "exact-run", "--expose", "8080", "--ready", "now", "--", "hostname")
    assert (ran.code, ran.out.strip()) == (0, "exact-run"), ran.err


@pytest.mark.parametrize("kind", ["replicaset", "replicationcontroller"])
def test_the_rights_that_are_documented_for_a_kind_are_all_that_a_swap_needs(
    products: MakeProduct, town: Namespace, kind: str
) -> None:
    workload = Workload(f"exact-{kind}")
    settle(town, probe_config_map(), getattr(workload, kind)(), *workload.services())
    before = remember(town, workload.name, f"{kind}/{workload.name}")
    product = products(kubeconfig=town.kubeconfig_with(rules_of((*swap_rights(kind), *ACCOUNT_RIGHTS))))
    with swapped(product, f"{kind}/{workload.name}") as swap:
        assert swap.end() == 0
    assert_restored(before)


def test_the_documented_role_is_all_that_a_swap_needs_and_files_need_exec_besides(
    products: MakeProduct, town: Namespace
) -> None:
    unread = Workload("unread", 1, ("echo:7000",), (), service=False)
    settle(town, probe_config_map(), *unread.objects())
    before = remember(town, "unread")
    rules = documented(town.cluster, "swap")
    path = "/etc/debian_version"
    words = ("swap", "unread", "--ready", "now", "--file", path, "--", "cat", path)
    product = products(kubeconfig=town.kubeconfig_with(rules))
    ended = product.run(*words)
    assert (ended.code, ended.out) == (77, "")
    assert "get pods/exec" in ended.err
    assert_nothing_touched(before)
    rules += rules_of(FILE_RIGHTS)
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
