"""What a pod may be made like, of every kind; and what is said where there is none."""

from __future__ import annotations

import pytest
import trio

from telepresence_py.cluster.client import open_cluster
from telepresence_py.cluster.templates import WITH_TEMPLATE, read_model, require_service_account, template_of
from telepresence_py.model.errors import BadUsage, NamedObjectMissing
from telepresence_py.model.intent import ClusterChoice
from tests.fakes.cluster import deployment, fake_cluster, no_plugin, owned_by_rollout, write_kubeconfig

TEMPLATE = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "app"}]}}


@pytest.fixture
def shop():
    with fake_cluster() as cluster:
        yield cluster


def ask(tmp_path, cluster, question, *words):
    async def main():
        async with open_cluster(
            ClusterChoice(write_kubeconfig(tmp_path / "config", cluster.url)), no_plugin
        ) as opened:
            return await question(opened, *words)

    return trio.run(main)


@pytest.mark.parametrize(
    "kind", ["deployment", "daemonset", "replicaset", "replicationcontroller", "job", "statefulset"]
)
def test_the_template_is_the_objects(kind):
    template = template_of(f"{kind}/x", {"metadata": {"name": "x"}, "spec": {"template": TEMPLATE}})
    assert template.json["spec"]["containers"] == TEMPLATE["spec"]["containers"]
    assert not template.is_pod


def test_the_template_of_a_cron_job_is_that_of_its_jobs():
    thing = {"spec": {"jobTemplate": {"spec": {"template": TEMPLATE}}}}
    assert template_of("cronjob/x", thing).json == TEMPLATE


def test_a_pod_is_its_own_template_without_the_name_that_its_statefulset_gave_it():
    owner = {"kind": "StatefulSet", "uid": "u", "controller": True}
    pod = {
        "metadata": {"name": "db-0", "ownerReferences": [owner]},
        "spec": {"containers": [], "hostname": "db-0", "subdomain": "db"},
    }
    template = template_of("pod/db-0", pod)
    assert template.is_pod
    assert template.json["spec"] == {"containers": []}
    bare = {"metadata": {"name": "x"}, "spec": {"hostname": "wanted"}}
    assert template_of("pod/x", bare).json["spec"] == {"hostname": "wanted"}


def test_the_claims_of_a_statefulset_are_those_of_its_first_pod():
    spec = {
        "template": TEMPLATE | {"spec": {"volumes": [{"name": "tmp", "emptyDir": {}}]}},
        "volumeClaimTemplates": [{"metadata": {"name": "data"}}],
        "ordinals": {"start": 3},
    }
    template = template_of("statefulset/db", {"metadata": {"name": "db"}, "spec": spec})
    assert template.claims == ("data-db-3",)
    assert [volume["name"] for volume in template.json["spec"]["volumes"]] == ["tmp", "data"]


def test_of_a_custom_resource_the_template_is_that_of_its_replicaset(tmp_path, shop):
    shop.add("replicasets", owned_by_rollout(deployment()[1]))
    model = ask(tmp_path, shop, read_model, "rollout", "orders")
    assert model.template.source == "rollout/orders"
    assert model.template.json["spec"]["containers"][0]["name"] == "app"


@pytest.mark.parametrize("kind", sorted(WITH_TEMPLATE))
def test_an_object_that_is_not_there_is_told_with_the_nearest(tmp_path, shop, kind):
    thing = {"metadata": {"name": "migrate"}, "spec": {"template": TEMPLATE}}
    shop.objects[WITH_TEMPLATE[kind].plural, "migrate"] = thing
    with pytest.raises(NamedObjectMissing, match=f'no {kind} "mirgate".*"migrate"'):
        ask(tmp_path, shop, read_model, kind, "mirgate")


@pytest.mark.parametrize("kind", ["service", "widget"])
def test_a_kind_without_pods_is_told_with_those_that_have_some(tmp_path, shop, kind):
    with pytest.raises(BadUsage, match=f'"{kind}" is no kind with a pod template.*cronjob'):
        ask(tmp_path, shop, read_model, kind, "x")


def test_claims_are_read_with_the_pods_that_may_use_them(tmp_path, shop):
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    template = TEMPLATE | {"spec": {"containers": [{"name": "app"}], "volumes": [volume]}}
    shop.objects["jobs", "x"] = {"metadata": {"name": "x"}, "spec": {"template": template}}
    claim = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    shop.objects["persistentvolumeclaims", "data"] = claim
    model = ask(tmp_path, shop, read_model, "job", "x")
    assert model.claims == {"data": {"ReadWriteOnce"}}
    assert shop.count("GET", "/pods") == 1


def test_a_service_account_that_is_not_there_is_told_with_the_nearest(tmp_path, shop):
    shop.add("serviceaccounts", {"metadata": {"name": "robot"}})
    ask(tmp_path, shop, require_service_account, "robot")
    with pytest.raises(NamedObjectMissing, match=r'"robto".*"robot"'):
        ask(tmp_path, shop, require_service_account, "robto")


def test_who_may_not_read_service_accounts_finds_out_later(tmp_path, shop):
    shop.refuse = lambda method, path, body: (403, "forbidden") if "serviceaccounts" in path else None
    ask(tmp_path, shop, require_service_account, "robto")
