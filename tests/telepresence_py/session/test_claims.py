"""A pod beside others that use the same volume claims."""

from __future__ import annotations

import pytest

from telepresence_py.model.errors import PreconditionFailed
from telepresence_py.session.claims import beside_others

ONCE = frozenset({"ReadWriteOnce"})


def pod(claim, node="node-1", phase="Running"):
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": claim}}
    return {
        "metadata": {"name": f"user-of-{claim}"},
        "spec": {"nodeName": node, "volumes": [volume]},
        "status": {"phase": phase},
    }


def test_a_claim_in_use_on_a_node_brings_the_pod_there_and_tells_so():
    node, (notice,) = beside_others("job/x", {"data": ONCE}, [pod("data")])
    assert node == "node-1"
    assert "user-of-data" in notice


@pytest.mark.parametrize(
    ("claims", "pods"),
    [
        ({"data": frozenset({"ReadWriteMany"})}, [pod("data")]),
        ({"data": ONCE}, [pod("other"), pod("data", "node-2", "Succeeded"), pod("data", "")]),
        ({}, [pod("data")]),
    ],
)
def test_otherwise_the_pod_may_go_anywhere(claims, pods):
    assert beside_others("job/x", claims, pods) == (None, ())


def test_a_claim_of_one_pod_alone_is_refused():
    with pytest.raises(PreconditionFailed, match="data, which one pod alone may have"):
        beside_others("job/x", {"data": frozenset({"ReadWriteOncePod"})}, [])


def test_claims_in_use_on_several_nodes_are_refused():
    with pytest.raises(PreconditionFailed, match="node-1 and node-2"):
        beside_others("job/x", {"a": ONCE, "b": ONCE}, [pod("a"), pod("b", "node-2")])
