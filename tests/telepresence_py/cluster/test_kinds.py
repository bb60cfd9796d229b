from __future__ import annotations

import pytest

from telepresence_py.cluster.kinds import require_swappable
from telepresence_py.model.errors import BadUsage, PreconditionFailed


@pytest.mark.parametrize("kind", ["deployment", "replicaset", "replicationcontroller", "rollout", "gadget"])
def test_what_has_replicasets_or_is_like_one_is_swapped(kind):
    require_swappable(kind, "orders")


@pytest.mark.parametrize("kind", ["statefulset", "daemonset", "job", "cronjob", "pod"])
def test_another_kind_is_refused_with_its_reason_and_what_can_be_done_instead(kind):
    with pytest.raises(
        PreconditionFailed, match=rf"^{kind}/orders cannot be swapped: .{{20}}.*run --like {kind}/orders`"
    ):
        require_swappable(kind, "orders")


def test_what_is_no_workload_is_bad_usage():
    with pytest.raises(BadUsage, match="configmap"):
        require_swappable("configmap", "orders")
