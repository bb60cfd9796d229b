from __future__ import annotations

import pytest
import trio

from telepresence_py.cluster.client import open_cluster
from telepresence_py.cluster.workloads import find_workload, read_workload
from telepresence_py.model.errors import BadUsage, NamedObjectMissing, NoRights, PreconditionFailed
from telepresence_py.model.intent import ClusterChoice
from tests.fakes.cluster import (
    deployment,
    fake_cluster,
    no_plugin,
    original,
    owned_by_rollout,
    replicationcontroller,
    without_parent,
    write_kubeconfig,
)


@pytest.fixture
def cluster():
    with fake_cluster() as fake:
        for plural, thing in zip(("deployments", "replicasets"), deployment(2), strict=True):
            fake.add(plural, thing)
        yield fake


def asking(tmp_path, cluster, question):
    async def main():
        choice = ClusterChoice(write_kubeconfig(tmp_path / "config", cluster.url))
        async with open_cluster(choice, no_plugin) as opened:
            return await question(opened)

    return trio.run(main)


def read(tmp_path, cluster, name, kind="deployment"):
    return asking(tmp_path, cluster, lambda opened: read_workload(opened, kind, name))


def find(tmp_path, cluster, workload, uid=None):
    return asking(tmp_path, cluster, lambda opened: find_workload(opened, workload, uid))


def test_a_workload_is_read_in_four_requests(tmp_path, cluster):
    snapshot = read(tmp_path, cluster, "orders")
    assert str(snapshot.workload) == "deployment/orders"
    assert [len(snapshot.workload.pod_owners), len(snapshot.pods), len(snapshot.services)] == [1, 2, 0]
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


# -- other kinds -----------------------------------------------------------------------------------------


def test_a_replicaset_of_a_deployment_is_read_as_that_deployment(tmp_path, cluster):
    assert str(read(tmp_path, cluster, "orders-abc", "replicaset").workload) == "deployment/orders"


@pytest.fixture
def other():
    """A cluster without a deployment, with the service account of pods that name none."""
    with fake_cluster() as fake:
        fake.add("serviceaccounts", {"metadata": {"name": "default", "uid": "uid-account"}})
        yield fake


def test_a_replicaset_without_a_parent_is_held_back_by_its_pods_service_account(tmp_path, other):
    other.add("replicasets", without_parent(deployment(2)[1]))
    snapshot = read(tmp_path, other, "orders", "replicaset")
    workload = snapshot.workload
    assert (str(workload), workload.uid, workload.replicas) == ("replicaset/orders", "uid-bare", 2)
    assert (workload.holder["kind"], workload.holder["uid"]) == ("ServiceAccount", "uid-account")
    assert [one.uid for one in workload.pod_owners] == ["uid-bare"]
    assert len(snapshot.pods) == 2
    assert len(other.requests) == 4


def test_a_replicationcontroller_is_read_with_its_pods(tmp_path, other):
    other.add("replicationcontrollers", replicationcontroller(2))
    snapshot = read(tmp_path, other, "orders", "replicationcontroller")
    assert str(snapshot.workload) == "replicationcontroller/orders"
    assert snapshot.workload.holder["kind"] == "ServiceAccount"
    assert len(snapshot.pods) == 2


@pytest.fixture
def rolled(other):
    """A Rollout that nothing but its ReplicaSets tells of, and one that is none of it."""
    replicaset = deployment(2)[1]
    other.add("replicasets", owned_by_rollout(replicaset))
    newer = owned_by_rollout(replicaset)
    newer["metadata"] |= {"name": "orders-new", "uid": "uid-newer"}
    for labels in (newer["spec"]["selector"]["matchLabels"], newer["spec"]["template"]["metadata"]["labels"]):
        labels["pod-template-hash"] = "new"
    newer["spec"]["replicas"] = 1
    other.add("replicasets", newer)
    bare = without_parent(replicaset)
    bare["metadata"]["name"] = "stray"
    bare["spec"]["replicas"] = 0
    other.objects["replicasets", "stray"] = bare
    return other


def test_a_custom_resource_is_known_by_the_replicasets_that_it_controls(tmp_path, rolled):
    snapshot = read(tmp_path, rolled, "orders", "rollout")
    workload = snapshot.workload
    assert (str(workload), workload.uid, workload.replicas) == ("rollout/orders", "uid-rollout", 3)
    assert [one.name for one in workload.pod_owners] == ["orders-abc", "orders-new"]
    assert workload.selector == "app=orders"
    assert len(snapshot.pods) == 3
    assert workload.holder == {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "name": "orders",
        "uid": "uid-rollout",
        "controller": True,
    }
    assert not any("rollouts" in path.partition("?")[0] for _, path in rolled.requests)


def test_a_replicaset_of_a_custom_resource_stands_for_itself_and_is_held_back_by_that_resource(
    tmp_path, rolled
):
    workload = read(tmp_path, rolled, "orders-abc", "replicaset").workload
    assert (str(workload), workload.replicas) == ("replicaset/orders-abc", 2)
    assert workload.holder["kind"] == "Rollout"


def test_a_missing_rollout_is_told_with_the_nearest_name(tmp_path, rolled):
    with pytest.raises(NamedObjectMissing, match=r'a rollout "oders" .* did you mean "orders"'):
        read(tmp_path, rolled, "oders", "rollout")


def test_a_kind_that_controls_no_replicaset_is_bad_usage(tmp_path, rolled):
    with pytest.raises(BadUsage, match='"gadget" is no kind of workload'):
        read(tmp_path, rolled, "orders", "gadget")


@pytest.mark.parametrize("kind", ["replicaset", "replicationcontroller"])
def test_a_missing_one_of_another_kind_is_told_with_the_nearest_name(tmp_path, other, kind):
    other.add("replicasets", without_parent(deployment(0)[1]))
    other.add("replicationcontrollers", replicationcontroller(0))
    with pytest.raises(NamedObjectMissing, match=rf'no {kind} "oders" .* did you mean "orders"'):
        read(tmp_path, other, "oders", kind)


def test_replicasets_without_a_common_label_are_named_one_by_one(tmp_path, rolled):
    for name in ("orders-abc", "orders-new"):
        selector = {"matchLabels": {"name": name}}
        rolled.edit("replicasets", name, lambda one, selector=selector: one["spec"].update(selector=selector))
    with pytest.raises(PreconditionFailed, match="replicaset/NAME"):
        read(tmp_path, rolled, "orders", "rollout")


def test_the_access_modes_of_shared_claims_are_read_as_far_as_the_user_may(tmp_path, other):
    volumes = [
        {"name": name, "persistentVolumeClaim": {"claimName": name}} for name in ("data", "hidden", "lost")
    ]
    volumes.append({"name": "c", "configMap": {}})
    other.add("replicasets", without_parent(deployment(1, volumes=volumes)[1]))
    for name in ("data", "hidden"):
        other.add(
            "persistentvolumeclaims", {"metadata": {"name": name}, "spec": {"accessModes": ["ReadWriteOnce"]}}
        )
    other.refuse = lambda method, path, body: (403, "no") if path.endswith("/hidden") else None
    assert read(tmp_path, other, "orders", "replicaset").claims == {
        "data": {"ReadWriteOnce"},
        "hidden": frozenset(),
        "lost": frozenset(),
    }


# -- read again ------------------------------------------------------------------------------------------


def test_read_again_it_is_the_same_workload_only_with_the_same_uid(tmp_path, cluster):
    found = find(tmp_path, cluster, "deployment/orders", "uid-deployment")
    assert found is not None
    assert found.replicas == 2
    assert find(tmp_path, cluster, "deployment/orders", "uid-of-another") is None
    assert find(tmp_path, cluster, "deployment/gone", "uid-deployment") is None
    assert find(tmp_path, cluster, "pod/orders") is None


def test_a_workload_that_is_being_deleted_is_gone(tmp_path, cluster):
    cluster.edit("deployments", "orders", lambda one: one["metadata"].update(deletionTimestamp="now"))
    assert find(tmp_path, cluster, "deployment/orders", "uid-deployment") is None


def test_pods_of_others_that_match_the_selector_are_not_its_own(tmp_path, other):
    other.add("replicasets", without_parent(deployment(1)[1]))
    workload = find(tmp_path, other, "replicaset/orders")
    stranger = original(deployment()[1], "stranger")
    assert [workload.has(pod) for pod in (*other.pods(), stranger)] == [True, False]
