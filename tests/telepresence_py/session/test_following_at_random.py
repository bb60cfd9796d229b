"""Whatever happens to a workload, and in whatever order: nobody's last good original is lost."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import trio

from telepresence_py.session import follower as follower_module
from telepresence_py.session import restoring as restoring_module
from tests.fakes.cluster import FakeCluster, counts
from tests.fakes.rollouts import Rollouts, can_be_ready, is_ready
from tests.telepresence_py.session.swapping import until
from tests.telepresence_py.session.test_follower import Play, cluster, of_ours

__all__ = ["cluster"]

EVENTS = 7
STRATEGIES: tuple[dict[str, Any], ...] = (
    {"max_surge": 1},
    {"max_surge": 0, "max_unavailable": 1},
    {"max_surge": 1, "max_unavailable": 1},
    {"recreate": True},
)
Do = Callable[[Rollouts], None]


def events(seed: int) -> tuple[dict[str, Any], int, list[tuple[str, Do]]]:
    """A strategy, a number of replicas and what happens, by name."""
    chance = random.Random(seed)
    words = iter("bcdefghijklm")

    def one() -> tuple[str, Do]:
        kind = chance.choice(["scale", "roll", "break", "undo", "take", "take"])
        if kind == "scale":
            size = chance.randrange(4)
            return f"scale {size}", lambda it: it.scale(size)
        if kind == "roll":
            word = next(words)
            return f"roll {word}", lambda it: it.roll(word)
        if kind == "break":
            word = f"broken-{next(words)}"
            return f"roll {word}", lambda it: it.roll(word)
        if kind == "undo":
            return "undo", lambda it: it.undo()
        which = chance.random()
        return "take a pod", lambda it: take(it.cluster, which)

    return chance.choice(STRATEGIES), chance.randrange(1, 4), [one() for _ in range(EVENTS)]


def take(cluster: FakeCluster, which: float) -> None:
    with cluster.lock:
        living = sorted(pod["metadata"]["name"] for pod in cluster.pods() if counts(pod))
        if living:
            cluster.answer("DELETE", ["pods", living[int(which * len(living))]], {}, {})


def without_a_session(seed: int) -> dict[str, int]:
    """What the controllers make of the same events by themselves: Ready originals by template."""
    strategy, replicas, what = events(seed)
    rollouts = Rollouts(FakeCluster(), replicas, **strategy)
    for _, do in what:
        do(rollouts)
        rollouts.tick()
    return ready_originals(rollouts)


def ready_originals(rollouts: Rollouts) -> dict[str, int]:
    found: dict[str, int] = {}
    for word in rollouts.wanted():
        ready = [pod for pod in rollouts.pods_of(word) if is_ready(pod) and not of_ours(pod)]
        found |= {word: len(ready)} if ready else {}
    return found


def watched(cluster: FakeCluster) -> list[str]:
    """Sentences on whoever was given away when it should not be."""
    wrong: list[str] = []

    def refuse(method: str, path: str, body: dict[str, Any]) -> None:
        if method != "PATCH" or body["metadata"].get("ownerReferences", "") is not None:
            return
        name = path.rsplit("/", maxsplit=1)[-1].split("?", maxsplit=1)[0]
        pod = cluster.objects.get(("pods", name))
        if pod is not None and not is_ready(pod):
            wrong.append(f"{name} was given away before it was Ready")
        if "broken" in name:
            wrong.append(f"{name} was given to what never had a Ready original")

    cluster.refuse = refuse
    return wrong


@pytest.mark.parametrize("seed", range(12))
def test_there_is_always_a_pod_and_the_workload_ends_as_it_would_by_itself(
    tmp_path, cluster, monkeypatch, seed
):
    monkeypatch.setattr(restoring_module, "ORIGINAL_SECONDS", 0.5)  # that of a broken template never comes
    monkeypatch.setattr(follower_module, "SHORT_LIFE_SECONDS", 0.0)  # all of it happens within a second
    strategy, replicas, what = events(seed)
    play = Play(tmp_path, cluster)
    wrong = watched(cluster)

    async def body() -> None:
        for name, do in what:
            do(play.rollouts)
            with trio.fail_after(5):
                await until(lambda: at_rest(play))
            assert play.ours(), f"no pod after {name}"

    play.run(body, replicas, **strategy)
    play.rollouts.tick()
    assert wrong == []
    assert ready_originals(play.rollouts) == without_a_session(seed), [name for name, _ in what]
    assert not any(map(of_ours, play.cluster.pods()))


def at_rest(play: Play) -> bool:
    """All are Ready that can be; every Ready original is displaced, each of ours adopted or the only one."""
    if any(counts(pod) and can_be_ready(pod) for pod in play.cluster.pods()):
        return False
    ours = play.ours()
    kinds = [pod["metadata"]["ownerReferences"][0]["kind"] for pod in ours]
    return bool(ours) and not play.ready_originals() and kinds in (["ReplicaSet"] * len(ours), ["Deployment"])
