"""Events on the workload, on the small API server: told, told again, refused, lost, and told by others."""

from __future__ import annotations

import socket

import pytest
import trio
import trio.testing

from telepresence_py.cluster import notes as notes_module
from telepresence_py.cluster.client import open_cluster
from telepresence_py.cluster.notes import NO_ANSWER, Note, write_note
from telepresence_py.model.intent import ClusterChoice
from telepresence_py.session import courtesy as courtesy_module
from telepresence_py.session.courtesy import Courtesy, tell_restored_by
from telepresence_py.session.podstate import Holder
from tests.fakes.cluster import fake_cluster, no_plugin, write_kubeconfig
from tests.telepresence_py.session.swapping import Session, until, with_orders, with_orders_as

SWAPPED, RESTORED = "orders.s1.swapped", "orders.s1.restored"


@pytest.fixture
def cluster():
    with fake_cluster() as fake:
        yield fake


def told(cluster):
    """The Events by name."""
    return {name: thing for (plural, name), thing in cluster.objects.items() if plural == "events"}


def tell(tmp_path, cluster, body, kind="deployment"):
    """Run `body(courtesy, plan, opened)` while a session that is in place tells."""
    session = Session(tmp_path, cluster, holder="ann@work", kind=kind)

    async def main():
        with trio.fail_after(30):
            async with open_cluster(session.intent.cluster, no_plugin) as opened:
                plan = await session.plan(opened)
                courtesy, placed = Courtesy(opened, plan), trio.Event()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(courtesy.tell_swapped, placed)
                    await trio.testing.wait_all_tasks_blocked()
                    assert told(cluster) == {}, "nobody is told before the originals are gone"
                    placed.set()
                    await body(courtesy, plan, opened)
                    nursery.cancel_scope.cancel()

    trio.run(main)


@pytest.mark.parametrize(
    ("kind", "about"),
    [
        ("deployment", ("apps/v1", "Deployment", "uid-deployment")),
        ("replicaset", ("apps/v1", "ReplicaSet", "uid-bare")),
        ("replicationcontroller", ("v1", "ReplicationController", "uid-controller")),
        ("rollout", ("argoproj.io/v1alpha1", "Rollout", "uid-rollout")),
    ],
)
def test_the_workload_tells_who_has_it_since_when_and_how_it_comes_back(tmp_path, cluster, kind, about):
    if kind == "deployment":
        with_orders(cluster)
    else:
        with_orders_as(cluster, kind)

    async def body(courtesy, plan, opened):
        await until(lambda: SWAPPED in told(cluster))
        event = told(cluster)[SWAPPED]
        seen = event["involvedObject"]
        assert (seen["apiVersion"], seen["kind"], seen["uid"]) == about
        assert (seen["name"], seen["namespace"]) == ("orders", "shop")
        assert "ann@work" in event["message"]
        assert "2026-01-01T00:00:00Z" in event["message"]
        assert f"telepresence-py restore {kind}/orders --force" in event["message"]

    tell(tmp_path, cluster, body, kind)


def test_it_is_told_again_before_it_is_forgotten_and_anew_if_it_was(tmp_path, cluster, monkeypatch):
    monkeypatch.setattr(courtesy_module, "AGAIN_SECONDS", 0.01)
    with_orders(cluster)

    async def body(courtesy, plan, opened):
        await until(lambda: told(cluster).get(SWAPPED, {}).get("count", 0) >= 3)
        with cluster.lock:
            del cluster.objects["events", SWAPPED]
        await until(lambda: told(cluster).get(SWAPPED, {}).get("count", 0) >= 4)

    tell(tmp_path, cluster, body)


def test_who_may_not_is_silent_and_asks_no_more(tmp_path, cluster, monkeypatch):
    monkeypatch.setattr(courtesy_module, "AGAIN_SECONDS", 0.0)
    with_orders(cluster)
    cluster.refuse = lambda method, path, body: (403, "forbidden") if "/events" in path else None

    async def body(courtesy, plan, opened):
        await until(lambda: cluster.count("POST", "/events"))
        await trio.testing.wait_all_tasks_blocked()
        await courtesy.tell_restored()

    tell(tmp_path, cluster, body)
    assert cluster.count("POST", "/events") == 1


def test_the_end_is_told_and_a_colleague_who_restored_has_the_last_word(tmp_path, cluster):
    with_orders(cluster)

    async def body(courtesy, plan, opened):
        await until(lambda: SWAPPED in told(cluster))
        await trio.testing.wait_all_tasks_blocked()
        await courtesy.tell_restored()
        assert "restored by ann@work" in told(cluster)[RESTORED]["message"]
        holder = Holder("ann@work", "2026-01-01T00:00:00Z", "deployment/orders", "", "s1")
        for _ in range(2):
            await tell_restored_by(opened, plan.target, holder, "bob@desk")
            assert "restored by bob@desk; session s1 of ann@work" in told(cluster)[RESTORED]["message"]
        await courtesy.tell_restored()
        assert "restored by bob@desk" in told(cluster)[RESTORED]["message"]

    tell(tmp_path, cluster, body)


def test_an_api_server_that_is_silent_holds_nobody_up(tmp_path, monkeypatch):
    """Nobody waits for the request either, which a change else is never left before it is answered."""
    monkeypatch.setattr(notes_module, "PATIENCE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        kubeconfig = write_kubeconfig(tmp_path / "config", f"http://127.0.0.1:{silent.getsockname()[1]}")

        async def main():
            async with open_cluster(ClusterChoice(kubeconfig), no_plugin) as opened:
                about = {"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "u"}
                with trio.fail_after(10):
                    assert await write_note(opened, Note("a.b", about, "Because", "so")) == NO_ANSWER

        trio.run(main)
