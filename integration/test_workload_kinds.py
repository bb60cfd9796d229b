"""What is swapped besides deployments with pods: ReplicaSets, whoever makes them, ReplicationControllers, and
workloads of no replicas; by the same rights, without a failed request, and back again."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from functools import partial

import pytest

from integration.probe.manifests import Workload, probe_config_map
from integration.probe.swapping import swapped
from integration.probe.town import SERVICE_ACCOUNT, settle
from integration.support.aftermath import Before, assert_restored, remember, sidecar_pods
from integration.support.namespaces import Namespace
from integration.support.product import Product
from integration.support.rollouts import make_rollout, rollouts
from integration.support.waiting import wait_until


@pytest.fixture(scope="module")
def known(town: Namespace) -> Iterator[None]:
    """The cluster knows the kind Rollout."""
    with rollouts(town):
        yield


@pytest.fixture
def deployed(request: pytest.FixtureRequest, town: Namespace, known: None) -> Before:
    """`KIND/NAME` of two replicas, of the kind that the parameter says, and the Service of its name."""
    kind = request.param
    workload = Workload(f"a-{kind}", replicas=2)
    if kind == "rollout":
        made = workload.replicaset_of(make_rollout(town, workload.name), "one")
    else:
        made = workload.replicaset() if kind == "replicaset" else workload.replicationcontroller()
    settle(town, probe_config_map(), made, *workload.services())
    return remember(town, workload.name, f"{made['kind'].lower()}/{made['metadata']['name']}")


def controllers(namespace: Namespace, app: str) -> set[tuple[str, str]]:
    """Kind and name of the controllers of our pods."""
    return {
        (one["kind"], one["name"])
        for pod in sidecar_pods(namespace, app)
        for one in pod["metadata"].get("ownerReferences", [])
    }


@pytest.mark.parametrize("deployed", ["replicaset", "replicationcontroller", "rollout"], indirect=True)
def test_it_is_swapped_and_restored_without_a_failed_request(
    request: pytest.FixtureRequest, town: Namespace, townsman: Product, deployed: Before
) -> None:
    """With the rights of `edit` alone, which knows nothing of the custom resource."""
    kind = request.node.callspec.params["deployed"]
    workload = f"{kind}/{deployed.name}"
    with town.load(f"http://{deployed.name}/") as tally:
        with swapped(townsman, workload) as swap:
            assert len(sidecar_pods(town, deployed.name)) == 2
            owner = town.get(deployed.thing)
            assert controllers(town, deployed.name) == {(owner["kind"], owner["metadata"]["name"])}
            (line, *_) = [line for line in townsman.run("list").out.splitlines() if "-tp-1" in line]
            assert line.split()[1:3] == [workload, "live"]
            assert swap.end() == 0
        assert_restored(deployed)
    assert set(tally.answers) == {"cluster", "laptop"}
    assert tally.failures == []


@pytest.mark.parametrize("deployed", ["replicationcontroller", "rollout"], indirect=True)
def test_what_a_killed_session_left_is_put_back_by_its_name(
    request: pytest.FixtureRequest, town: Namespace, townsman: Product, deployed: Before
) -> None:
    workload = f"{request.node.callspec.params['deployed']}/{deployed.name}"
    with swapped(townsman, workload, "--grace", "120s") as swap:
        os.kill(swap.running.session_pid(), signal.SIGKILL)
        swap.running.wait()
    wait_until(
        partial(known_dead, townsman, deployed.name), 20, "each of its pods is known to miss its session"
    )
    assert townsman.run("restore", workload).code == 0
    assert_restored(deployed)


def known_dead(product: Product, name: str) -> bool:
    lines = [line for line in product.run("list").out.splitlines() if f"{name}-" in line]
    return bool(lines) and all("dead" in line for line in lines)


@pytest.mark.parametrize("deployed", ["rollout"], indirect=True)
def test_one_replicaset_of_a_custom_resource_is_swapped_alone(
    town: Namespace, townsman: Product, deployed: Before
) -> None:
    canary = Workload(deployed.name).replicaset_of(town.get("rollouts.argoproj.io", deployed.name), "two")
    settle(town, canary)
    with swapped(townsman, f"rs/{deployed.name}-two") as swap:
        assert controllers(town, deployed.name) == {("ReplicaSet", f"{deployed.name}-two")}
        refused = townsman.run("swap", f"rollout/{deployed.name}", "--", "true")
        assert refused.code == 73
        assert f"replicaset/{deployed.name}-two" in refused.err
        assert swap.end() == 0
    town.kubectl("delete", "replicaset", f"{deployed.name}-two")
    assert_restored(deployed)


def test_a_replicaset_of_a_deployment_stands_for_the_deployment(town: Namespace, townsman: Product) -> None:
    settle(town, probe_config_map(), *Workload("whole").objects())
    before = remember(town, "whole")
    replicaset = town.get("replicasets", "-l", "app=whole")[0]["metadata"]["name"]
    with swapped(townsman, f"replicaset/{replicaset}") as swap:
        assert f"replicaset/{replicaset} belongs to deployment/whole" in swap.running.err
        assert swap.end() == 0
    assert_restored(before)


# -- no replicas -----------------------------------------------------------------------------------------


def test_a_workload_of_no_replicas_is_answered_for_by_one_pod_that_goes_again(
    town: Namespace, townsman: Product
) -> None:
    settle(town, probe_config_map(), *Workload("asleep", replicas=0).objects())
    town.ensure_customers_pod()
    before = remember(town, "asleep")
    with swapped(townsman, "asleep") as swap:
        assert "0 replicas" in swap.running.err
        assert json.loads(town.ask("http://asleep/"))["who"] == "laptop"
        (pod,) = town.pods("app=asleep")
        assert swap.probe.ask("hostname") == pod["metadata"]["name"]
        assert swap.probe.content(f"{SERVICE_ACCOUNT}/namespace").decode() == town.name
        assert town.get("deployment/asleep")["status"].get("replicas", 0) == 0
        assert swap.end() == 0
    assert_restored(before)


def test_a_killed_session_of_a_workload_of_no_replicas_leaves_a_pod_that_ends_by_itself(
    town: Namespace, townsman: Product
) -> None:
    settle(town, probe_config_map(), *Workload("idle", replicas=0).objects())
    before = remember(town, "idle")
    with swapped(townsman, "idle", "--grace", "3s") as swap:
        os.kill(swap.running.session_pid(), signal.SIGKILL)
        swap.running.wait()
    wait_until(lambda: finished(town, "idle"), 30, "the sidecar ended by itself")
    assert townsman.run("restore", "idle").code == 0
    assert_restored(before)


def finished(namespace: Namespace, app: str) -> bool:
    return all(pod["status"]["phase"] == "Succeeded" for pod in sidecar_pods(namespace, app))
