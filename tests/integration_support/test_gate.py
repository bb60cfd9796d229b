"""What a gate takes a request for, and which deaths are tried."""

from __future__ import annotations

import json
from typing import Any

import pytest

from integration.faults.gate import kind_of
from integration.faults.points import all_cases, sample
from integration.faults.victims import VICTIMS

PODS = "/api/v1/namespaces/shop/pods"
OWNER = {"metadata": {"uid": "1", "ownerReferences": [{"kind": "Deployment"}]}}
NO_OWNER = {"metadata": {"uid": "1", "ownerReferences": None}}


@pytest.mark.parametrize(
    ("method", "target", "body", "kind"),
    [
        ("POST", PODS, {}, "create"),
        ("POST", f"{PODS}?dryRun=All", {}, "rehearse"),
        ("PATCH", f"{PODS}/a-tp-1", NO_OWNER, "adopt"),
        ("PATCH", f"{PODS}/a-tp-1", OWNER, "release"),
        ("PATCH", f"{PODS}/a-tp-1", {"metadata": {"annotations": {}}}, ""),
        ("DELETE", f"{PODS}/a-tp-1", {}, "delete"),
        ("GET", f"{PODS}/a-tp-1/portforward?ports=2222", {}, "forward"),
        ("GET", f"{PODS}?watch=1", {}, ""),
        ("GET", "/apis/apps/v1/namespaces/shop/deployments/a", {}, ""),
    ],
)
def test_a_request_is_told_by_what_it_changes(
    method: str, target: str, body: dict[str, Any], kind: str
) -> None:
    assert kind_of(method, target, json.dumps(body).encode()) == kind


def test_a_sample_is_the_same_for_the_same_seed_and_has_every_victim() -> None:
    names = [str(case) for case in sample(7, 10)]
    assert names == [str(case) for case in sample(7, 10)]
    assert len(set(names)) == 10
    assert {case.victim.name for case in sample(7, 10)} == {victim.name for victim in VICTIMS}


def test_the_names_of_all_cases_differ() -> None:
    names = [str(case) for case in all_cases()]
    assert len(set(names)) == len(names)
