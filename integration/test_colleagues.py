"""What kubectl tells a colleague of a swap: whose it is, since when, and how the workload comes back."""

from __future__ import annotations

import re
from collections.abc import Callable

from integration.probe.manifests import Workload, probe_config_map
from integration.probe.swapping import swapped
from integration.probe.town import settle
from integration.support.aftermath import assert_restored, remember, sidecar_pods
from integration.support.events import events_about
from integration.support.namespaces import Namespace
from integration.support.product import Product
from integration.support.waiting import wait_until

ANN, BOB = {"LOGNAME": "ann"}, {"LOGNAME": "bob"}


def test_kubectl_tells_whose_a_workload_is_and_how_it_comes_back(
    town: Namespace, products: Callable[..., Product]
) -> None:
    settle(town, probe_config_map(), *Workload("courteous").objects())
    before = remember(town, "courteous")
    with swapped(products(town), "courteous", environment=ANN) as swap:
        wait_until(lambda: events_about(town, "courteous"), 20, "the workload tells who has it")
        (pod,) = sidecar_pods(town, "courteous")
        since = pod["metadata"]["annotations"]["telepresence-py/since"]
        way_back = "telepresence-py restore deployment/courteous --force"
        told = re.search(r"Normal +Swapped .* telepresence-py +(ann@.*)", described(town, before.thing))
        assert told is not None
        assert re.match(rf"ann@\S+ stands in for it .* since {since}", told[1])
        assert way_back in told[1]
        of_pod = described(town, f"pod/{pod['metadata']['name']}")
        assert re.search(r"telepresence-py/holder: +ann@", of_pod)
        assert f"telepresence-py/restore-by: {way_back}\n" in of_pod
        log = town.kubectl("logs", pod["metadata"]["name"])
        assert re.search(r"to have that back: telepresence-py restore .* session \w+ of ann@", log)
        colleague = products(town)
        forced = colleague.run(*way_back.split()[1:], environment=BOB)
        assert forced.code == 0, forced.err
        assert swap.running.wait() == 75
    assert_restored(before)
    last = events_about(town, "courteous")[-1]
    assert last["reason"] == "Restored"
    assert re.match(r"The originals are back, restored by bob@\S+; session \w+ of ann@", last["message"])


def described(namespace: Namespace, thing: str) -> str:
    return namespace.kubectl("describe", thing)
