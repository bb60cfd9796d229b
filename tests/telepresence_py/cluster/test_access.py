from __future__ import annotations

import pytest
import trio

from telepresence_py.cluster.access import Right, allowed_by, require_rights, run_rights, swap_rights
from telepresence_py.cluster.client import open_cluster
from telepresence_py.model.errors import NoRights
from telepresence_py.model.intent import ClusterChoice
from tests.fakes.cluster import fake_cluster, no_plugin, write_kubeconfig


def rule(verbs, groups, resources, **more):
    return {"verbs": verbs, "apiGroups": groups, "resources": resources} | more


@pytest.mark.parametrize(
    ("given", "allowed"),
    [
        (rule(["get"], [""], ["pods/log"]), True),
        (rule(["*"], ["*"], ["*"]), True),
        (rule(["get"], [""], ["*/log"]), True),
        (rule(["get"], [""], ["pods"]), False),
        (rule(["list"], [""], ["pods/log"]), False),
        (rule(["get"], ["apps"], ["pods/log"]), False),
        (rule(["get"], [""], ["pods/log"], resourceNames=["one"]), False),
    ],
)
def test_a_rule_gives_a_right_when_verb_group_and_subresource_fit(given, allowed):
    assert allowed_by([given], Right("get", "pods/log")) is allowed


def check(tmp_path, cluster):
    async def main():
        choice = ClusterChoice(write_kubeconfig(tmp_path / "config", cluster.url))
        async with open_cluster(choice, no_plugin) as opened:
            await require_rights(opened, swap_rights("deployment"))

    trio.run(main)


def test_who_has_all_rights_is_asked_about_once(tmp_path):
    with fake_cluster() as cluster:
        check(tmp_path, cluster)
        assert len(cluster.requests) == 1


def test_the_first_missing_right_is_named_after_asking_for_it_alone(tmp_path):
    with fake_cluster() as cluster:
        cluster.allowed_rules = [
            rule([right.verb], [right.group], [right.resource])
            for right in swap_rights("deployment")
            if right.verb != "patch"
        ]
        with pytest.raises(NoRights, match=r'patch pods in namespace "shop"'):
            check(tmp_path, cluster)
        assert cluster.count("POST", "selfsubjectaccessreviews") == 1


def test_who_may_not_even_ask_finds_out_by_doing(tmp_path):
    """The refusal is a Status of Kubernetes, whose `status` is a word."""
    with fake_cluster() as cluster:
        cluster.refuse = lambda method, path, body: (403, "no") if "subject" in path else None
        check(tmp_path, cluster)
        assert cluster.count("POST", "selfsubjectrulesreviews") == 1


def test_a_run_asks_for_services_only_where_it_makes_one_and_for_the_model_only_where_there_is_one():
    plain = {(right.verb, right.resource) for right in run_rights(None, with_service=False)}
    assert not {resource for _, resource in plain} & {"services", "deployments", "jobs"}
    assert ("patch", "pods") not in plain
    assert ("create", "services") in {(r.verb, r.resource) for r in run_rights(None, with_service=True)}
    assert Right("get", "jobs", "batch") in run_rights("job", with_service=False)
    assert Right("list", "replicasets", "apps") in run_rights("rollout", with_service=False)


def test_only_files_of_a_container_need_exec():
    both = {Right("get", "pods/exec"), Right("create", "pods/exec")}
    for needed in (swap_rights("deployment", True), run_rights("job", False, True)):
        assert both <= set(needed)
    for needed in (swap_rights("deployment"), run_rights("job", with_service=True)):
        assert not both & set(needed)
