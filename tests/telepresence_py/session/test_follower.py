from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio

from telepresence_py.cluster import client as client_module
from telepresence_py.cluster.owners import is_held_back
from telepresence_py.model.errors import SessionLost
from telepresence_py.session import follower as follower_module
from telepresence_py.session import following
from telepresence_py.session import restoring as restoring_module
from telepresence_py.session.manifest import node_of
from telepresence_py.session.podstate import TAKEN_ANNOTATION
from telepresence_py.session.replicas import Replicas
from telepresence_sidecar.contract import SESSION_LABEL
from tests.fakes.cluster import FakeCluster, controllers, counts, fake_cluster, running
from tests.fakes.rollouts import Rollouts, is_ready
from tests.telepresence_py.session.swapping import Session, in_place, until, with_orders, with_orders_as


class Links:
    """Instead of tunnels: a pod that comes reports ready at once, in the API server's books."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.passed_on: list[tuple[str, tuple[str, ...]]] = []

    def keep(self, replica) -> None:
        pass

    async def pass_on(self, replica, addresses: tuple[str, ...]) -> None:
        self.passed_on.append((replica.pod_name, addresses))


class Play:
    """A swap of `orders` that is in place and followed, on a cluster whose pods become Ready in a moment."""

    def __init__(self, tmp_path, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.session = Session(tmp_path, cluster)
        self.links = Links(cluster)
        self.replicas: Replicas
        self.rollouts: Rollouts

    def run(self, body: Callable[[], Awaitable[None]], replicas: int = 1, **strategy) -> None:
        self.rollouts = Rollouts(self.cluster, replicas, **strategy)

        async def ready_in_a_moment() -> None:
            while True:
                self.rollouts.tick()
                await trio.sleep(0.01)

        async def act(replicas: Replicas) -> None:
            self.replicas = replicas
            async with trio.open_nursery() as cluster_life:
                cluster_life.start_soon(ready_in_a_moment)
                try:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(replicas.follow, self.links)
                        await in_place(replicas)
                        await body()
                        nursery.cancel_scope.cancel()
                finally:
                    await replicas.restore()
                cluster_life.cancel_scope.cancel()

        self.session.run(act)

    def ours(self) -> list[dict]:
        return [pod for pod in self.cluster.pods() if of_ours(pod) and counts(pod)]

    def originals(self) -> list[dict]:
        return [pod for pod in self.cluster.pods() if not of_ours(pod) and counts(pod)]

    def adopted(self, word: str = "abc") -> list[str]:
        return sorted(pod["metadata"]["name"] for pod in self.rollouts.pods_of(word) if of_ours(pod))

    def count_requests(self) -> int:
        return len([path for _, path in self.cluster.requests if "watch=1" not in path])

    def delete(self, name: str) -> None:
        with self.cluster.lock:
            self.cluster.answer("DELETE", ["pods", name], {}, {})

    async def until_adopted(self, count: int, word: str = "abc") -> None:
        await until(lambda: len(self.adopted(word)) == count and not self.ready_originals())

    def ready_originals(self) -> list[dict]:
        return [pod for pod in self.originals() if is_ready(pod)]


def of_ours(pod) -> bool:
    return SESSION_LABEL in (pod["metadata"].get("labels") or {})


@pytest.fixture
def cluster(monkeypatch):
    monkeypatch.setattr(client_module, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(restoring_module, "AGAIN_SECONDS", 0.05)
    monkeypatch.setattr(restoring_module, "GONE_SECONDS", 2.0)
    monkeypatch.setattr(follower_module, "CALM_SECONDS", 0.02)
    monkeypatch.setattr(follower_module, "FIRST_LOOK_SECONDS", 0.1)
    monkeypatch.setattr(follower_module, "LONGEST_LOOK_SECONDS", 0.3)
    monkeypatch.setattr(follower_module, "SHORT_LIFE_SECONDS", 0.1)
    monkeypatch.setattr(following, "PAUSES_SECONDS", (0.0, 0.0, 0.02, 0.04))
    monkeypatch.setattr(following, "EPISODE_SECONDS", 0.02)
    with fake_cluster() as fake:
        yield fake


@pytest.fixture
def play(tmp_path, cluster):
    return Play(tmp_path, cluster)


# -- scaling ---------------------------------------------------------------------------------------------


def test_new_originals_are_displaced_and_nobody_beyond(play):
    async def body():
        play.rollouts.scale(3)
        await play.until_adopted(3)
        assert play.originals() == []

    play.run(body)
    assert play.session.names.count("replica-joined") == 2
    assert len(play.originals()) == 3
    assert play.ours() == []


def test_one_more_original_costs_few_requests_and_quiet_none(play):
    async def body():
        await until(lambda: play.originals() == [])
        await trio.sleep(0.1)
        before = play.count_requests()
        await trio.sleep(0.3)
        assert play.count_requests() == before
        play.rollouts.scale(2)
        await play.until_adopted(2)
        await until(lambda: play.originals() == [])
        # two dry runs, the creation, the adoption; and at each look the deployment and its ReplicaSets
        assert play.cluster.count("POST", "dryRun") == 2 + 2
        assert play.count_requests() - before <= 4 + 2 * 5

    play.run(body)


def test_a_sidecar_that_a_scale_down_takes_is_not_made_again(play):
    async def body():
        play.rollouts.scale(1)
        await until(lambda: len(play.ours()) == 1)
        await trio.sleep(0.2)
        assert len(play.ours()) == 1
        assert len(play.adopted()) == 1

    play.run(body, 3)
    assert len(play.originals()) == 1


def test_at_0_replicas_one_pod_is_held_and_never_adopted_and_then_it_is(play):
    async def body():
        play.rollouts.scale(0)
        await until(lambda: "replica-spare" in play.session.names and len(play.ours()) == 1)
        await trio.sleep(0.1)
        assert play.adopted() == []
        (held,) = [pod["metadata"]["name"] for pod in play.ours()]
        play.rollouts.scale(2)
        await play.until_adopted(2)
        assert held in play.adopted()

    play.run(body, 2)
    assert len(play.originals()) == 2


def test_a_session_that_ends_at_0_replicas_leaves_0_replicas(play):
    async def body():
        play.rollouts.scale(0)
        await until(lambda: "replica-spare" in play.session.names and len(play.ours()) == 1)

    play.run(body)
    assert play.cluster.pods() == []


# -- rollouts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "strategy",
    [{"max_surge": 1}, {"max_surge": 0, "max_unavailable": 1}, {"recreate": True}],
    ids=["surge", "unavailable", "recreate"],
)
@pytest.mark.parametrize("replicas", [1, 3])
def test_a_rollout_goes_to_its_end_and_is_displaced_again(play, strategy, replicas, monkeypatch):
    # rollouts of the fake are over in a moment, so that every pod they take is a young one
    monkeypatch.setattr(follower_module, "SHORT_LIFE_SECONDS", 0.0)

    async def body():
        play.rollouts.roll("new")
        await until(lambda: play.rollouts.wanted() == {"new": replicas})
        await play.until_adopted(replicas, "new")
        await until(lambda: len(play.ours()) == replicas)
        play.rollouts.undo()
        await until(lambda: play.rollouts.wanted() == {"abc": replicas})
        await play.until_adopted(replicas)
        await until(lambda: len(play.ours()) == replicas)

    play.run(body, replicas, **strategy)
    assert play.session.names.count("template-changed") == 1
    assert len(play.rollouts.pods_of("abc")) == replicas
    assert all(is_ready(pod) for pod in play.originals())


def test_nothing_is_given_to_a_rollout_that_is_stuck_and_an_undo_ends_it(play):
    async def body():
        play.rollouts.roll("broken")
        await until(lambda: play.rollouts.pods_of("broken"))
        await trio.sleep(0.3)
        assert play.adopted("broken") == []
        assert play.rollouts.wanted() == {"abc": 1, "broken": 1}
        play.rollouts.undo()
        await until(lambda: play.rollouts.wanted() == {"abc": 1})
        assert len(play.adopted()) == 1

    play.run(body)
    assert "replica-lost" not in play.session.names
    assert [is_ready(pod) for pod in play.originals()] == [True]


def test_a_session_that_ends_in_a_stuck_rollout_leaves_the_good_original(play):
    async def body():
        play.rollouts.roll("broken")
        await until(lambda: play.rollouts.pods_of("broken"))
        play.delete(play.adopted()[0])
        await play.until_adopted(1)

    play.run(body)
    assert [is_ready(pod) for pod in play.rollouts.pods_of("abc")] == [True]
    assert [is_ready(pod) for pod in play.rollouts.pods_of("broken")] == [False]


def test_a_recreate_that_is_stuck_leaves_a_held_pod_until_it_is_undone(play):
    async def body():
        play.rollouts.roll("broken")
        await until(lambda: "replica-spare" in play.session.names and len(play.ours()) == 1)
        await trio.sleep(0.1)
        assert play.adopted("broken") == []
        play.rollouts.undo()
        await play.until_adopted(1)

    play.run(body, recreate=True)
    assert [is_ready(pod) for pod in play.originals()] == [True]


def test_a_template_without_the_container_is_told_and_the_session_goes_on(play):
    def rename(replicaset):
        replicaset["spec"]["template"]["spec"]["containers"][0]["name"] = "other"

    async def body():
        play.cluster.edit("replicasets", "orders-new", rename)
        play.rollouts.roll("new")
        await until(lambda: "replica-refused" in play.session.names)

    play.run(prepared(play, "new", body))
    (told,) = [event.text for event in play.session.events if event.name == "replica-refused"]
    assert "no container app" in told
    assert [is_ready(pod) for pod in play.originals()] == [True]


def prepared(play, word, body):
    async def with_replicaset():
        play.cluster.add("replicasets", play.rollouts._replicaset(word))
        await body()

    return with_replicaset


# -- taken -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("replicas", [1, 3])
def test_a_sidecar_that_is_deleted_has_a_successor_under_another_name(play, replicas):
    async def body():
        taken = play.adopted()[0]
        play.cluster.lingering = lambda pod: pod["metadata"]["name"] == taken
        play.delete(taken)
        await play.until_adopted(replicas)
        assert taken not in play.adopted()
        play.cluster.lingering = lambda pod: False
        play.cluster.let_go()

    play.run(body, replicas)
    assert len(play.originals()) == replicas


def test_one_that_is_evicted_and_finished_has_a_successor(play):
    async def body():
        taken = play.adopted()[0]
        play.cluster.edit(
            "pods", taken, lambda pod: pod.update(status={"phase": "Failed", "reason": "Evicted"})
        )
        await play.until_adopted(1)

    play.run(body)
    assert len(play.originals()) == 1
    assert play.cluster.pods() == play.originals()


def test_what_a_taken_pod_holds_is_passed_on_and_again_when_the_other_goes_too(play):
    async def body():
        taken, other = play.adopted()
        play.cluster.edit("pods", other, lambda pod: pod["status"].update(podIPs=[{"ip": "10.1.2.9"}]))
        play.cluster.lingering = of_ours
        play.delete(taken)
        await until(lambda: (taken, ("10.1.2.9",)) in play.links.passed_on)
        play.delete(other)
        await until(lambda: {(taken, ("10.1.2.3",)), (other, ("10.1.2.3",))} <= {*play.links.passed_on})
        await play.until_adopted(2)
        play.cluster.lingering = lambda pod: False
        play.cluster.let_go()

    play.run(body, 2)


def test_a_deployment_that_is_deleted_ends_the_session(play):
    async def body():
        play.cluster.manage = lambda: None
        play.cluster.remove("deployments", "orders")
        await trio.sleep(5)

    with pytest.raises(SessionLost, match="deployment/orders was deleted"):
        play.run(body)
    assert play.cluster.pods() == []


def test_a_controller_that_fights_is_given_in_to(play, monkeypatch):
    monkeypatch.setattr(follower_module, "SHORT_LIFE_SECONDS", 10.0)

    async def body():
        while True:
            for pod in play.ours():
                play.delete(pod["metadata"]["name"])
            await trio.sleep(0.05)

    with pytest.raises(SessionLost, match=r"again and again.*originals come back"):
        play.run(body)
    created = play.session.names.count("created")
    assert 3 <= created <= 10
    assert len(play.originals()) == 1


@pytest.mark.parametrize("step", [following.Adopt, following.Drop])
def test_a_pod_that_dies_between_decision_and_deed_is_passed_over(play, monkeypatch, step):
    decide, dead = follower_module.decide, [step("dead-by-then")]

    def decide_of_the_dead(view):
        steps = decide(view)
        return (dead.pop(), *steps) if steps and dead else steps

    monkeypatch.setattr(follower_module, "decide", decide_of_the_dead)

    async def body():
        play.rollouts.scale(2)
        await play.until_adopted(2)

    play.run(body)
    assert dead == []
    assert len(play.originals()) == 2


def test_a_refusal_while_others_serve_does_not_end_the_session_and_is_told_once(play):
    def full(method, path, body):
        name = body.get("metadata", {}).get("name", "") if body else ""
        return (403, "exceeded quota: q") if method == "POST" and "-tp-" in name else None

    async def body():
        play.cluster.refuse = full
        play.rollouts.scale(2)
        await until(lambda: "replica-refused" in play.session.names)
        await trio.sleep(0.5)
        assert len(play.ready_originals()) == 1
        assert len(play.adopted()) == 1
        play.cluster.refuse = lambda method, path, body: None

    play.run(body)
    assert play.session.names.count("replica-refused") == 1


@pytest.mark.parametrize("owner_is_slow", [False, True])
def test_a_session_that_meanwhile_took_the_workload_ends_ours(play, owner_is_slow):
    """With a slow owner its pod has the place before another original is made, and none will be."""

    def admit(pod):
        if pod["metadata"]["name"].endswith("-tp-2"):  # ours, the second time
            play.cluster.controllers_rest = False
            rival = running(pod)
            labels = pod["metadata"]["labels"] | {SESSION_LABEL: "rival"}
            play.cluster.add(
                "pods",
                {"metadata": {"name": "a-rival", "labels": labels}, "spec": pod["spec"], "status": rival},
            )

    async def body():
        play.cluster.admit = admit
        name = play.adopted()[0]
        play.cluster.lingering = lambda pod: pod["metadata"]["name"] == name
        play.cluster.controllers_rest = owner_is_slow
        play.delete(name)
        await until(lambda: False)

    with pytest.raises(SessionLost, match=r"has lost deployment/orders: .*held by"):
        play.run(body)
    assert play.session.names.count("original-not-ready") == 0


def test_who_takes_the_workload_away_is_not_fought(play):
    def take(pod):
        pod["metadata"].setdefault("annotations", {})[TAKEN_ANNOTATION] = "by restore --force"

    async def body():
        play.cluster.edit("pods", play.adopted()[0], take)
        await until(lambda: False)

    with pytest.raises(SessionLost, match=r"somebody gave deployment/orders back by .*--force"):
        play.run(body)


def test_an_api_server_that_is_away_is_waited_for(play):
    async def body():
        play.cluster.cut_connections = 2
        play.cluster.break_watches()
        play.delete(play.adopted()[0])
        await play.until_adopted(1)

    play.run(body)
    assert len(play.originals()) == 1
    assert controllers(play.originals()[0]) == ["uid-replicaset"]


# -- other workloads than deployments --------------------------------------------------------------------


@pytest.mark.parametrize("replicas", [0, 1])
@pytest.mark.parametrize("kind", ["replicaset", "replicationcontroller", "rollout"])
def test_a_workload_of_another_kind_is_followed_as_it_is_scaled_up(tmp_path, cluster, kind, replicas):
    session = Session(tmp_path, with_orders_as(cluster, kind, replicas), kind=kind)
    plural = "replicationcontrollers" if kind == "replicationcontroller" else "replicasets"
    name = "orders-abc" if kind == "rollout" else "orders"

    def adopted() -> list[dict]:
        return [pod for pod in cluster.pods() if of_ours(pod) and counts(pod) and not is_held_back(pod)]

    async def body(held: Replicas) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(held.follow, Links(cluster))
            await in_place(held)
            cluster.edit(plural, name, lambda one: one["spec"].update(replicas=2))
            await until(lambda: len(adopted()) == 2 and len([p for p in cluster.pods() if counts(p)]) == 2)
            nursery.cancel_scope.cancel()
        assert await held.restore()

    session.run(body)
    assert len(cluster.pods()) == 2
    assert not any(map(of_ours, cluster.pods()))


def test_a_successor_goes_to_the_node_that_has_the_originals_volume(tmp_path, cluster):
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    cluster.add(
        "persistentvolumeclaims", {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    )
    session = Session(tmp_path, with_orders(cluster, volumes=volumes))

    def on_node2(pod: dict) -> None:
        pod["spec"]["nodeName"] = "node2"

    async def body(held: Replicas) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(held.follow, Links(cluster))
            await in_place(held)
            cluster.admit = on_node2
            cluster.edit("replicasets", "orders-abc", lambda one: one["spec"].update(replicas=2))
            await until(lambda: [node_of(pod) for pod in cluster.pods() if of_ours(pod)] == [None, "node2"])
            nursery.cancel_scope.cancel()

    session.run(body)
