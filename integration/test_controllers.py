"""Controllers that know nothing of a session go on with their work on its workload, and nobody fights."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
from collections.abc import Iterator

from integration.probe.manifests import Object, Workload, probe_config_map
from integration.probe.swapping import swapped
from integration.probe.town import settle
from integration.support.aftermath import SESSION_LABEL, assert_restored, is_ready, remember
from integration.support.namespaces import Namespace
from integration.support.product import Product
from integration.support.waiting import wait_until

NAME = "governed"
ROUNDS = 5
"""How often at least the manifest is applied while the session is there."""


def test_a_session_lives_with_an_autoscaler_and_with_a_manifest_that_is_applied_again_and_again(
    town: Namespace, townsman: Product
) -> None:
    """The autoscaler is Kubernetes' own, which needs no metrics to bring a workload between its bounds. The
    manifest comes every second from a manager who takes every field for itself, as GitOps does."""
    workload = Workload(NAME)
    settle(town, probe_config_map(), *workload.objects())
    with swapped(townsman, NAME) as swap:
        with applied_on_and_on(town, workload.deployment()) as rounds:
            town.apply(autoscaler(2, 3))
            wait_all_ours(town, 2)
            town.apply(autoscaler(1, 1))
            wait_all_ours(town, 1)
            wait_until(lambda: next(rounds) >= ROUNDS, 120, f"it was applied {ROUNDS} times")
            wait_all_ours(town, 1)
        assert editors(town) <= {"kubectl-client-side-apply", "gitops", "kube-controller-manager"}
        wait_until(lambda: json.loads(town.ask(f"http://{NAME}/"))["who"] == "laptop", 60, "it is asked")
        town.kubectl("delete", "horizontalpodautoscaler", NAME)
        before = remember(town, NAME)
        assert swap.end() == 0
    assert_restored(before)


def editors(town: Namespace) -> set[str]:
    """Who ever wrote a field of the workload that is there still."""
    words = ("get", f"deployment/{NAME}", "-o", "json", "--show-managed-fields")
    return {one["manager"] for one in json.loads(town.kubectl(*words))["metadata"]["managedFields"]}


def autoscaler(least: int, most: int) -> Object:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME}
    load = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": NAME},
        "spec": {
            "scaleTargetRef": target,
            "minReplicas": least,
            "maxReplicas": most,
            "metrics": [{"type": "Resource", "resource": load}],
        },
    }


@contextlib.contextmanager
def applied_on_and_on(town: Namespace, deployment: Object) -> Iterator[Iterator[int]]:
    """Without `replicas`, as is usual beside an autoscaler; what is yielded tells how often it was."""
    manifest = {
        **deployment,
        "spec": {key: it for key, it in deployment["spec"].items() if key != "replicas"},
    }
    over, times, problems = threading.Event(), [0], []

    def apply() -> None:
        words = ("apply", "--server-side", "--force-conflicts", "--field-manager=gitops", "-f", "-")
        try:
            while not over.wait(1.0):
                town.kubectl(*words, stdin=json.dumps(manifest))
                times[0] += 1
        except Exception as problem:  # noqa: BLE001 - told by the test's own thread
            problems.append(problem)

    applying = threading.Thread(target=apply)
    applying.start()
    try:
        yield (times[0] for _ in itertools.count())
    finally:
        over.set()
        applying.join()
    assert problems == []


def wait_all_ours(town: Namespace, replicas: int) -> None:
    """Until so many pods are there that do not leave, each of them ours, Ready, and a replica."""

    def are() -> bool:
        pods = [pod for pod in town.pods(f"app={NAME}") if not pod["metadata"].get("deletionTimestamp")]
        return len(pods) == replicas and all(
            SESSION_LABEL in pod["metadata"]["labels"] and is_ready(pod) and is_owned(pod) for pod in pods
        )

    wait_until(
        are, 180, f"{replicas} pods, all ours", seen=lambda: town.kubectl("get", "pods,hpa", "-o", "wide")
    )


def is_owned(pod: Object) -> bool:
    return any(one["kind"] == "ReplicaSet" for one in pod["metadata"].get("ownerReferences", []))
