from __future__ import annotations

import pytest
import trio

from telepresence_py.cluster.client import open_cluster
from telepresence_py.cluster.workloads import read_workload, selector_text
from telepresence_py.model.errors import NamedObjectMissing, NoRights, PreconditionFailed
from telepresence_py.model.intent import ClusterChoice
from tests.fakes.cluster import deployment, fake_cluster, write_kubeconfig


@pytest.fixture
def cluster():
    with fake_cluster() as fake:
        for plural, thing in zip(("deployments", "replicasets"), deployment(2), strict=True):
            fake.add(plural, thing)
        yield fake


def read(tmp_path, cluster, name, kind="deployment"):
    async def main():
        async with open_cluster(ClusterChoice(write_kubeconfig(tmp_path / "config", cluster.url))) as opened:
            return await read_workload(opened, kind, name)

    return trio.run(main)


def test_a_workload_is_read_in_four_requests(tmp_path, cluster):
    snapshot = read(tmp_path, cluster, "orders")
    assert snapshot.deployment["metadata"]["name"] == "orders"
    assert [len(snapshot.replicasets), len(snapshot.pods), len(snapshot.services)] == [1, 2, 0]
    assert len(cluster.requests) == 4
    assert {method for method, _ in cluster.requests} == {"GET"}


def test_a_missing_deployment_is_told_with_the_nearest_name(tmp_path, cluster):
    with pytest.raises(NamedObjectMissing, match=r'no deployment "oders" .* did you mean "orders"'):
        read(tmp_path, cluster, "oders")


def test_a_missing_deployment_is_told_also_to_who_may_not_list(tmp_path, cluster):
    cluster.refuse = lambda method, path, body: (403, "no") if path.endswith("/deployments") else None
    with pytest.raises(NamedObjectMissing, match='no deployment "oders"'):
        read(tmp_path, cluster, "oders")


def test_who_may_not_get_deployments_is_told_the_right_that_is_missing(tmp_path, cluster):
    message = 'User "eve" cannot get resource "deployments"'
    cluster.refuse = lambda method, path, body: (403, message) if "/deployments/" in path else None
    with pytest.raises(NoRights, match=r"get deployments\.apps"):
        read(tmp_path, cluster, "orders")


def test_a_missing_namespace_is_told_rather_than_the_deployment(tmp_path, cluster):
    cluster.objects.clear()
    cluster.add("namespaces", {"metadata": {"name": "shops"}})
    with pytest.raises(NamedObjectMissing, match=r'no namespace "shop" .* did you mean "shops"'):
        read(tmp_path, cluster, "orders")


def test_another_kind_is_refused_before_any_request(tmp_path, cluster):
    with pytest.raises(PreconditionFailed, match="statefulset/orders"):
        read(tmp_path, cluster, "orders", kind="statefulset")
    assert cluster.requests == []


def test_selectors_with_expressions_are_written_as_the_server_reads_them():
    selector = {
        "matchLabels": {"app": "orders"},
        "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["a", "b"]},
            {"key": "old", "operator": "NotIn", "values": ["c"]},
            {"key": "x", "operator": "Exists"},
            {"key": "y", "operator": "DoesNotExist"},
        ],
    }
    assert selector_text(selector) == "app=orders,tier in (a,b),old notin (c),x,!y"
