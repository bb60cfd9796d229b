"""A session follows its workload: rollouts, scaling, eviction, drain; the command lives on all the while."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from integration.probe.manifests import Workload, probe_config_map
from integration.probe.swapping import Swap, swapped
from integration.probe.town import settle
from integration.support.aftermath import assert_restored, is_ready, remember
from integration.support.namespaces import Namespace
from integration.support.product import Product
from integration.support.waiting import wait_until

NAME = "moving"
URL = f"http://{NAME}/"
BAD_IMAGE = "registry.invalid/none:1"


@dataclass(frozen=True)
class Moving:
    """The workload, and what tests do to it as its owner would."""

    town: Namespace

    def kubectl(self, *arguments: str, seconds: float = 60) -> str:
        return self.town.kubectl(*arguments, seconds=seconds)

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

        wait_until(held, 60, f"{replicas} pods, all ours", seen=self.seen)
        return self.ours()

    def seen(self) -> str:
        return self.kubectl("get", "pods,replicasets", "-l", f"app={NAME}", "-o", "wide", "--show-labels")


def name_of(pod: dict[str, Any]) -> str:
    return str(pod["metadata"]["name"])


def is_ours(pod: dict[str, Any]) -> bool:
    return "telepresence-py/session" in pod["metadata"]["labels"]


def owner_kind(pod: dict[str, Any]) -> str:
    return "".join(one["kind"] for one in pod["metadata"].get("ownerReferences", []))


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
        answer = self.swap.probe.ask("tcp", host="peer", port=80, send="GET / HTTP/1.0\r\n\r\n")
        assert '"who": "peer"' in answer["received"]

    def is_asked(self) -> None:
        wait_until(
            lambda: json.loads(self.town.ask(URL))["who"] == "laptop", 20, "the Service leads to the child"
        )


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
        wait_until(lambda: is_ready(moving.pods()[0]), 20, "it is Ready, and no controller removes it")
        assert owner_kind(moving.pods()[0]) == "Deployment"
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
    print(tally)
    assert tally.failures == []
    assert set(tally.answers) == {"cluster", "laptop"}
