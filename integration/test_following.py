"""A session follows its workload: rollouts, scaling, eviction, drain; the command lives on all the while."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from integration.probe.asking import ProbeError
from integration.probe.manifests import Workload, probe_config_map
from integration.probe.swapping import Swap, swapped
from integration.probe.town import settle
from integration.support.aftermath import SESSION_LABEL, assert_restored, is_ready, remember
from integration.support.cluster import KubectlFailed
from integration.support.namespaces import Namespace
from integration.support.product import Product
from integration.support.waiting import wait_until

NAME = "moving"
URL = f"http://{NAME}/"
MOMENT = 1.0
"""Seconds for which customers may be refused when the only pod goes: a busy node's proxy may hear of its
successor later than that pod has passed on all that it held and ended."""
BAD_IMAGE = "registry.invalid/none:1"


@dataclass(frozen=True)
class Moving:
    """The workload, and what tests do to it as its owner would."""

    town: Namespace

    def kubectl(self, *arguments: str, stdin: str | None = None, seconds: float = 120) -> str:
        return self.town.kubectl(*arguments, stdin=stdin, seconds=seconds)

    def scale(self, replicas: int) -> None:
        self.kubectl("scale", f"deployment/{NAME}", f"--replicas={replicas}")

    def strategy(self, kind: str, **rolling: int) -> None:
        strategy = {"type": kind, "rollingUpdate": rolling or None}
        patch = {"spec": {"strategy": strategy, "progressDeadlineSeconds": 30}}
        self.kubectl("patch", f"deployment/{NAME}", "--type=merge", "-p", json.dumps(patch))

    def set_template(self, value: str) -> None:
        self.kubectl("set", "env", f"deployment/{NAME}", f"GENERATION={value}")

    def wait_rolled_out(self) -> None:
        self.town.wait_rolled_out(NAME)

    def has_held_one(self) -> bool:
        """Whether all that there is is one Ready pod that belongs to no ReplicaSet."""
        held = [is_ready(pod) and owner_kind(pod) == "Deployment" for pod in self.pods()]
        return held == [True]

    def pods(self) -> list[dict[str, Any]]:
        """Those that are neither finished nor on their way out."""
        return [
            pod
            for pod in self.town.pods(f"app={NAME}")
            if not pod["metadata"].get("deletionTimestamp")
            and pod["status"]["phase"] in ("Pending", "Running")
        ]

    def ours(self) -> list[str]:
        return [name_of(pod) for pod in self.pods() if is_ours(pod)]

    def originals(self) -> list[str]:
        return [name_of(pod) for pod in self.pods() if not is_ours(pod)]

    def wait_in_our_hands(self, replicas: int, template: str | None = None) -> list[str]:
        """Until every pod is one of ours, Ready, adopted, and of that template; their names."""

        def held() -> bool:
            pods = self.pods()
            return len(pods) == replicas and all(
                is_ours(pod)
                and is_ready(pod)
                and owner_kind(pod) == "ReplicaSet"
                and generation(pod) == template
                for pod in pods
            )

        wait_until(held, 120, f"{replicas} pods, all ours", seen=self.seen)
        return self.ours()

    def seen(self) -> str:
        return self.kubectl("get", "pods,replicasets", "-l", f"app={NAME}", "-o", "wide", "--show-labels")


def name_of(pod: dict[str, Any]) -> str:
    return str(pod["metadata"]["name"])


def is_ours(pod: dict[str, Any]) -> bool:
    return SESSION_LABEL in pod["metadata"]["labels"]


def owner_kind(pod: dict[str, Any]) -> str:
    return "".join(one["kind"] for one in pod["metadata"].get("ownerReferences", []))


def owner_name(pod: dict[str, Any]) -> str:
    return "".join(one["name"] for one in pod["metadata"].get("ownerReferences", []))


def generation(pod: dict[str, Any]) -> str | None:
    """What the template's variable says in the container that we took."""
    variables = pod["spec"]["containers"][0].get("env", [])
    return next((one["value"] for one in variables if one["name"] == "GENERATION"), None)


@pytest.fixture(scope="module")
def deployed(town: Namespace) -> Moving:
    settle(town, probe_config_map(), *Workload(NAME, replicas=2).objects())
    return Moving(town)


@pytest.fixture
def moving(deployed: Moving, townsman: Product) -> Iterator[Moving]:
    """Two replicas of the first template with the usual strategy; restored, and as many, afterwards."""
    yield deployed
    townsman.end_all()
    townsman.run("restore", "--all", "--force")
    deployed.kubectl("set", "env", f"deployment/{NAME}", "GENERATION-")
    deployed.kubectl("set", "image", f"deployment/{NAME}", f"main={Workload(NAME).main_container()['image']}")
    deployed.strategy("RollingUpdate", maxSurge=1, maxUnavailable=0)
    deployed.scale(2)
    deployed.wait_rolled_out()


@dataclass(frozen=True)
class Child:
    """The command of one swap; when it ends, so does the run that carries its answers."""

    swap: Swap
    town: Namespace

    def reaches_out(self) -> None:
        """By name, over whichever pod there is, without ever being told that there is none."""
        try:
            answer = self.swap.probe.ask("tcp", host="peer", port=80, send="GET / HTTP/1.0\r\n\r\n")
        except ProbeError as error:
            raise AssertionError(f"{error}, after:\n{self.swap.running.err}") from error
        assert '"who": "peer"' in answer["received"]

    def is_asked(self) -> None:
        def answers() -> bool:
            with contextlib.suppress(KubectlFailed):  # refused: the customers' node has not heard of it yet
                return bool(json.loads(self.town.ask(URL))["who"] == "laptop")
            return False

        wait_until(answers, 60, "the Service leads to the child")


def end_restored(moving: Moving, swap: Swap) -> None:
    """As the last edit wanted it, and nothing of ours."""
    before = remember(moving.town, NAME)
    assert swap.end() == 0
    assert_restored(before)


def test_scaling_up_down_to_0_and_back(moving: Moving, townsman: Product) -> None:
    with swapped(townsman, NAME) as swap:
        child = Child(swap, moving.town)
        moving.scale(4)
        moving.wait_in_our_hands(4)
        moving.scale(1)
        moving.wait_in_our_hands(1)
        child.reaches_out()
        moving.scale(0)
        wait_until(lambda: len(moving.ours()) == 1 and not moving.originals(), 20, "one of ours is held")
        child.reaches_out()
        # until then the one that is to go may be what is seen, or nothing
        wait_until(moving.has_held_one, 60, "it is Ready, and no controller removes it", seen=moving.pods)
        moving.scale(2)
        moving.wait_in_our_hands(2)
        child.is_asked()
        assert "0 replicas" in swap.running.err
        end_restored(moving, swap)


def test_a_rollout_and_its_undo_go_to_their_end_without_a_failed_request(
    moving: Moving, townsman: Product
) -> None:
    with swapped(townsman, NAME) as swap:
        child = Child(swap, moving.town)
        with moving.town.load(URL) as tally:
            moving.set_template("2")
            moving.wait_rolled_out()
            moving.wait_in_our_hands(2, "2")
            moving.kubectl("rollout", "undo", f"deployment/{NAME}")
            moving.wait_rolled_out()
            moving.wait_in_our_hands(2)
        assert "GENERATION" not in swap.probe.ask("environment")
        child.reaches_out()
        assert swap.running.err.count("has a new template") == 1
        end_restored(moving, swap)
    assert tally.failures == []
    assert set(tally.answers) == {"cluster", "laptop"}


@pytest.mark.alone
@pytest.mark.parametrize("strategy", ["unavailable", "recreate"])
def test_the_only_pod_may_go_before_the_next_comes_and_connections_wait(
    moving: Moving, townsman: Product, strategy: str
) -> None:
    moving.scale(1)
    if strategy == "recreate":
        moving.strategy("Recreate")
    else:
        moving.strategy("RollingUpdate", maxSurge=0, maxUnavailable=1)
    with swapped(townsman, NAME) as swap:
        child = Child(swap, moving.town)
        with moving.town.load(URL) as tally:
            moving.set_template(strategy)
            wait_until(lambda: "taken from the session" in swap.running.err, 60, "the only pod is taken")
            child.reaches_out()
            moving.wait_rolled_out()
            moving.wait_in_our_hands(1, strategy)
            child.reaches_out()
        end_restored(moving, swap)
    assert tally.longest_refusal() <= MOMENT, (tally.failures, tally.failed_at)
    assert "laptop" in tally.answers


def test_a_stuck_rollout_gets_nothing_and_the_good_original_is_never_lost(
    moving: Moving, townsman: Product
) -> None:
    moving.scale(1)
    moving.wait_rolled_out()
    with swapped(townsman, NAME) as swap:
        child = Child(swap, moving.town)
        (good,) = {owner_name(pod) for pod in moving.pods()}
        moving.kubectl("set", "image", f"deployment/{NAME}", f"main={BAD_IMAGE}")
        wait_until(moving.originals, 60, "the rollout has its pod")
        (ours,) = moving.ours()
        moving.kubectl("delete", "pod", ours, "--wait=false")

        def held_again() -> bool:
            new = [pod for pod in moving.pods() if is_ours(pod) and owner_kind(pod) == "ReplicaSet"]
            return [owner_name(pod) for pod in new] == [good] and is_ready(new[0])

        wait_until(held_again, 90, "the good ReplicaSet has one of ours again", seen=moving.seen)
        assert len(moving.originals()) == 1, "that of the stuck rollout, which got none of ours"
        child.is_asked()
        assert swap.end() == 0
        (back,) = [pod for pod in moving.pods() if owner_name(pod) == good]
        assert is_ready(back)
        assert not is_ours(back)


@pytest.mark.alone
def test_a_pod_that_is_deleted_evicted_or_drained_has_a_successor(moving: Moving, townsman: Product) -> None:
    moving.scale(1)
    moving.wait_rolled_out()
    with swapped(townsman, NAME) as swap:
        child = Child(swap, moving.town)
        with moving.town.load(URL) as tally:
            for take in (delete, evict, drain):
                (ours,) = moving.ours()
                with take(moving, ours):
                    wait_until(partial(absent, moving, ours), 60, f"{ours} is gone", seen=moving.seen)
                    moving.wait_in_our_hands(1)
                    wait_until(lambda: len(moving.town.pods(f"app={NAME}")) == 1, 30, "nobody else is left")
                    child.reaches_out()
        assert swap.running.err.count("taken from the session") == 3
        end_restored(moving, swap)
    assert tally.longest_refusal() <= MOMENT, (tally.failures, tally.failed_at)


def absent(moving: Moving, name: str) -> bool:
    return name not in moving.ours()


@contextlib.contextmanager
def delete(moving: Moving, name: str) -> Iterator[None]:
    moving.kubectl("delete", "pod", name, "--wait=false")
    yield


@contextlib.contextmanager
def evict(moving: Moving, name: str) -> Iterator[None]:
    namespace = moving.town.name
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}
    path = f"/api/v1/namespaces/{namespace}/pods/{name}/eviction"
    moving.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(body))
    yield


@contextlib.contextmanager
def drain(moving: Moving, name: str) -> Iterator[None]:
    """As the cluster's admin does, without --force; of the node's pods this one alone."""
    node = moving.town.get("pod", name)["spec"]["nodeName"]
    session = moving.town.get("pod", name)["metadata"]["labels"][SESSION_LABEL]
    try:
        moving.kubectl(
            "drain", node, f"--pod-selector={SESSION_LABEL}={session}", "--timeout=60s", seconds=70
        )
        yield
    finally:
        moving.kubectl("uncordon", node)


def test_who_fights_for_the_pods_gets_them_and_it_is_said(moving: Moving, townsman: Product) -> None:
    with swapped(townsman, NAME) as swap:
        deadline = time.monotonic() + 180
        while swap.running.process.poll() is None and time.monotonic() < deadline:
            moving.kubectl("delete", "pods", "-l", f"app={NAME},{SESSION_LABEL}", "--wait=false")
        assert swap.running.wait(30) == 75
        assert "again and again" in swap.running.err
    wait_until(lambda: len(moving.originals()) == 2 and not moving.ours(), 30, "the originals are back")
