"""Pods of every shape: many of them, with helpers of each kind, that become Ready late or by somebody's word,
with volumes that only one node may have."""

from __future__ import annotations

from integration.probe.manifests import Workload, probe_config_map
from integration.probe.swapping import swapped
from integration.probe.town import settle
from integration.support.aftermath import assert_restored, remember, sidecar_pods
from integration.support.namespaces import Namespace
from integration.support.product import Product


def test_ten_replicas_are_swapped_and_restored_without_a_failed_request(
    namespace: Namespace, product: Product
) -> None:
    settle(namespace, probe_config_map(), *Workload("many", replicas=10).objects())
    before = remember(namespace, "many")
    with namespace.load("http://many/") as tally:
        with swapped(product, "many") as swap:
            assert len(sidecar_pods(namespace, "many")) == 10
            assert swap.end(seconds=120) == 0
        assert_restored(before)
    assert set(tally.answers) == {"cluster", "laptop"}
    assert tally.failures == []
