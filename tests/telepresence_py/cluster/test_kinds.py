from __future__ import annotations

import pytest

from telepresence_py.cluster.kinds import require_swappable
from telepresence_py.model.errors import BadUsage, PreconditionFailed


def test_a_deployment_is_swapped():
    require_swappable("deployment", "orders")


@pytest.mark.parametrize("kind", ["statefulset", "daemonset", "job", "cronjob", "pod", "replicaset"])
def test_another_kind_is_refused_with_its_reason(kind):
    with pytest.raises(PreconditionFailed, match=rf"^{kind}/orders cannot be swapped: .{{20}}"):
        require_swappable(kind, "orders")


def test_what_is_no_workload_is_bad_usage():
    with pytest.raises(BadUsage, match="configmap"):
        require_swappable("configmap", "orders")
