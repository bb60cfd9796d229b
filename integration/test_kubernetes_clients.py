"""A program that talks to the API server from inside its pod does so as the child, by the pod's account."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from integration.probe.languages import Builder
from integration.probe.manifests import Workload, probe_config_map
from integration.probe.town import settle
from integration.support.aftermath import Before, assert_restored, remember
from integration.support.namespaces import Namespace
from integration.support.product import Product

RBAC = "rbac.authorization.k8s.io"
ACCOUNT = "watcher"


@pytest.fixture(scope="module")
def watcher(town: Namespace) -> Iterator[Before]:
    """A workload whose service account may list and watch pods, and nothing else."""
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": town.name}
    role = {"apiGroup": RBAC, "kind": "Role", "name": ACCOUNT}
    metadata = {"name": ACCOUNT}
    workload = Workload("watcher", listen=(), ports=(), service=False, pod={"serviceAccountName": ACCOUNT})
    settle(
        town,
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": metadata, "rules": [rule]},
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": role,
            "subjects": [subject],
        },
        probe_config_map(),
        *workload.objects(),
    )
    before = remember(town, "watcher")
    yield before
    assert_restored(before)


@pytest.mark.parametrize("library", ["python", "client-go"])
def test_an_in_cluster_client_is_the_pod_to_the_api_server(
    watcher: Before, townsman: Product, builder: Builder, library: str
) -> None:
    """The Python client and client-go, unchanged, by their in-cluster configuration."""
    town = watcher.namespace
    client = townsman.source("integration/probe/in_cluster/client.py")
    command = (
        [townsman.python, client] if library == "python" else [str(builder.built("kubernetes") / "client")]
    )
    ended = townsman.run("swap", "watcher", "--", *command)
    assert ended.code == 0, ended.err
    seen: dict[str, Any] = json.loads(ended.out)
    assert seen["user"] == f"system:serviceaccount:{town.name}:{ACCOUNT}"
    assert seen["itself"].startswith("watcher-")
    assert seen["itself"] in seen["pods"], "it sees itself among the pods"
    assert [name for name in seen["pods"] if name.startswith("peer-")], "and the others"
    assert seen["watched"] == seen["itself"]
    assert seen["refused"] == "Forbidden", "what the developer may, its account may not"
