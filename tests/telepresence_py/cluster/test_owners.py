from __future__ import annotations

import copy

import pytest

from telepresence_py.cluster.calls import REPLICASETS, REPLICATIONCONTROLLERS
from telepresence_py.cluster.owners import (
    PodOwner,
    common_selector,
    controller_uid,
    is_held_back,
    selector_text,
)
from tests.fakes.cluster import deployed, deployment, original, replicationcontroller


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


def test_a_replicationcontrollers_plain_map_is_a_selector_too():
    owner = PodOwner(REPLICATIONCONTROLLERS, replicationcontroller())
    assert selector_text(owner.selector) == "app=orders"
    assert (owner.reference["apiVersion"], owner.reference["kind"]) == ("v1", "ReplicationController")
    assert str(owner) == "replicationcontroller orders"


def replicaset(**labels):
    made = copy.deepcopy(deployment()[1])
    made["spec"]["selector"]["matchLabels"] = labels
    return PodOwner(REPLICASETS, made)


@pytest.mark.parametrize(
    ("selectors", "text"),
    [
        ([{"app": "a", "pod-template-hash": "1"}], "app=a"),
        ([{"app": "a", "rollouts-pod-template-hash": "1"}], "app=a"),
        ([{"app": "a", "gen": "1"}, {"app": "a", "gen": "2"}], "app=a"),
        ([{"pod-template-hash": "1"}], "pod-template-hash=1"),
        ([{"gen": "1"}, {"gen": "2"}], ""),
    ],
)
def test_pods_of_generations_to_come_are_found_by_what_the_selectors_have_in_common(selectors, text):
    assert common_selector([replicaset(**one) for one in selectors]) == text


def test_a_pod_is_held_back_by_an_owner_that_makes_no_pods():
    pod = original(deployment()[1], "orders-abc-1")
    assert not is_held_back(pod)
    pod["metadata"]["ownerReferences"] = [deployed(*deployment()).holder]
    assert is_held_back(pod)
    del pod["metadata"]["ownerReferences"]
    assert not is_held_back(pod)
    assert controller_uid(pod) is None


def test_a_pod_that_a_newer_replicaset_made_is_the_deployments_as_well():
    owner, old = deployment()
    newer = copy.deepcopy(old)
    newer["metadata"] |= {"uid": "uid-newer", "name": "orders-new"}
    assert deployed(owner, old).has(original(newer, "orders-new-1"))
    newer["metadata"]["name"] = "payments-new"
    assert not deployed(owner, old).has(original(newer, "payments-new-1"))
    assert not deployed(owner, old).may_have(original(newer, "payments-new-1"))
