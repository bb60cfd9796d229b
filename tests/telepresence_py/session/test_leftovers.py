from __future__ import annotations

import pytest
import trio

from telepresence_py.cluster.access import restore_rights
from telepresence_py.cluster.client import open_cluster
from telepresence_py.cluster.pods import read_log
from telepresence_py.model.errors import NoRights, WorkloadHeld
from telepresence_py.session.leftovers import last_word, list_leftovers, restore_leftovers
from telepresence_py.session.podstate import TAKEN_ANNOTATION
from telepresence_sidecar.contract import SESSION_LABEL
from tests.fakes.cluster import deployment, fake_cluster, no_plugin
from tests.telepresence_py.session.swapping import Session, in_place, with_orders, with_orders_as

CONNECTED = "client connected 127.0.0.1\n"
LOST = "client lost\n"


@pytest.fixture
def cluster():
    with fake_cluster() as fake:
        fake.add("namespaces", {"metadata": {"name": "shop"}})
        yield with_orders(fake, 2)


@pytest.fixture
def session(tmp_path, cluster):
    """Its pods stay in place while the tests look at them from elsewhere."""
    return Session(tmp_path, cluster)


def meanwhile(session, look):
    """Run `look(cluster room)` while the session is in place."""

    async def body(replicas):
        await in_place(replicas)
        async with open_cluster(session.intent.cluster, no_plugin) as elsewhere:
            await look(elsewhere)

    session.run(body)


def say(cluster, text):
    for pod in cluster.pods():
        cluster.logs[pod["metadata"]["name"]] = text
        pod["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"


def sidecars(cluster):
    return [pod for pod in cluster.pods() if SESSION_LABEL in pod["metadata"].get("labels", {})]


@pytest.mark.parametrize(
    ("lines", "word"),
    [
        ([], None),
        (["host key SHA256:x"], None),
        (["client connected a"], "connected"),
        (["client connected a", "client lost", "other"], "lost"),
        (["client lost", "client connected b"], "connected"),
    ],
)
def test_the_last_word_of_the_log_tells_whether_a_session_is_there(lines, word):
    assert last_word(lines) == word


@pytest.mark.parametrize(("log", "state"), [(CONNECTED, "live"), (CONNECTED + LOST, "dead"), ("", "dead")])
def test_every_sidecar_pod_is_listed_with_holder_workload_and_state(cluster, session, log, state):
    async def look(elsewhere):
        say(cluster, log)
        found = await list_leftovers(elsewhere)
        assert [one.pod_name for one in found] == ["orders-abc-tp-1", "orders-abc-tp-2"]
        assert {
            (one.holder, one.since, one.workload, one.session, one.state, one.adopted) for one in found
        } == {("me@here", "2026-01-01T00:00:00Z", "deployment/orders", "s1", state, True)}

    meanwhile(session, look)


def test_a_connection_that_breaks_does_not_empty_a_log(cluster, session):
    async def look(elsewhere):
        say(cluster, CONNECTED)
        cluster.cut_connections = 1
        assert await read_log(elsewhere, "orders-abc-tp-1", "main") == (CONNECTED.strip(),)
        assert cluster.cut_connections == 0

    meanwhile(session, look)


def test_a_namespace_without_sessions_lists_nothing(cluster, session):
    async def main():
        async with open_cluster(session.intent.cluster, no_plugin) as elsewhere:
            assert await list_leftovers(elsewhere) == ()
            assert await restore_leftovers(elsewhere, session.events.append) == ()

    trio.run(main)


def test_a_live_session_is_not_touched_without_force(cluster, session):
    async def look(elsewhere):
        say(cluster, CONNECTED)
        before = len(cluster.requests)
        with pytest.raises(WorkloadHeld, match=r"me@here since .*--force"):
            await restore_leftovers(elsewhere, session.events.append, "deployment/orders")
        assert all(method == "GET" for method, _ in cluster.requests[before:])
        assert len(sidecars(cluster)) == 2

    meanwhile(session, look)


def test_a_live_session_is_spared_when_all_is_restored(cluster, session):
    async def look(elsewhere):
        say(cluster, CONNECTED)
        assert await restore_leftovers(elsewhere, session.events.append) == ()
        assert "spared" in [event.name for event in session.events]
        assert len(sidecars(cluster)) == 2

    meanwhile(session, look)


@pytest.mark.parametrize(("log", "force"), [(CONNECTED, True), (CONNECTED + LOST, False)])
def test_what_a_dead_or_forced_session_holds_is_put_back(cluster, session, log, force):
    async def look(elsewhere):
        say(cluster, log)
        removed = await restore_leftovers(elsewhere, session.events.append, "deployment/orders", force)
        assert len(removed) == 2
        assert sidecars(cluster) == []
        assert len(cluster.pods()) == 2

    meanwhile(session, look)


@pytest.mark.parametrize(("log", "patches"), [(CONNECTED, 2), (LOST, 0)])
def test_a_living_session_is_told_before_its_workload_is_taken_away(cluster, session, log, patches):
    bodies = []

    def note(method, path, body):
        if method == "PATCH":
            bodies.append(body["metadata"])

    async def look(elsewhere):
        say(cluster, log)
        cluster.refuse = note
        await restore_leftovers(elsewhere, session.events.append, "deployment/orders", force=True)

    meanwhile(session, look)
    told = [TAKEN_ANNOTATION in (body.get("annotations") or {}) for body in bodies]
    assert sum(told) == patches  # of the others some are the living session's own
    assert told[:1] == [patches > 0]


def test_a_replicaset_of_a_deployment_is_restored_as_that_deployment(cluster, session):
    async def look(elsewhere):
        say(cluster, LOST)
        assert len(await restore_leftovers(elsewhere, session.events.append, "replicaset/orders-abc")) == 2
        assert sidecars(cluster) == []

    meanwhile(session, look)


@pytest.mark.parametrize("kind", ["replicaset", "replicationcontroller", "rollout"])
def test_workloads_of_other_kinds_are_listed_and_put_back_by_their_names(tmp_path, kind):
    with fake_cluster() as fake:
        session = Session(tmp_path, with_orders_as(fake, kind, 2), kind=kind)

        async def look(elsewhere):
            say(fake, LOST)
            found = await list_leftovers(elsewhere)
            assert {(one.workload, one.adopted) for one in found} == {(f"{kind}/orders", True)}
            await restore_leftovers(elsewhere, session.events.append, f"{kind}/orders")
            assert sidecars(fake) == []
            assert len(fake.pods()) == 2

        meanwhile(session, look)


def test_another_workloads_sessions_are_left_alone(cluster, session):
    async def look(elsewhere):
        say(cluster, LOST)
        cluster.add("deployments", deployment(name="other")[0])
        assert await restore_leftovers(elsewhere, session.events.append, "deployment/other") == ()
        assert len(sidecars(cluster)) == 2

    meanwhile(session, look)


def test_the_record_of_a_finished_session_is_removed(cluster, session):
    async def look(elsewhere):
        for pod in sidecars(cluster):
            cluster.edit(
                "pods", pod["metadata"]["name"], lambda one: one.update(status={"phase": "Succeeded"})
            )
        assert {one.state for one in await list_leftovers(elsewhere)} == {"finished"}
        await restore_leftovers(elsewhere, session.events.append)
        assert sidecars(cluster) == []
        assert len(cluster.pods()) == 2

    meanwhile(session, look)


def test_pods_of_a_deployment_that_is_gone_are_removed(cluster, session):
    async def look(elsewhere):
        say(cluster, LOST)
        del cluster.objects["deployments", "orders"]
        await restore_leftovers(elsewhere, session.events.append)
        assert sidecars(cluster) == []

    meanwhile(session, look)


@pytest.mark.parametrize(
    "lacking", restore_rights("deployment"), ids=lambda one: f"{one.verb} {one.resource}"
)
def test_who_lacks_one_right_is_told_which_before_a_restore_touches_anything(cluster, session, lacking):
    """Also by --force, which else begins by writing on the pods."""
    rules = [
        {"verbs": [one.verb], "apiGroups": [one.group], "resources": [one.resource]}
        for one in restore_rights("deployment")
        if one != lacking
    ]

    async def look(elsewhere):
        say(cluster, CONNECTED)
        cluster.allowed_rules = rules
        before = [(one["metadata"]["name"], one["metadata"]["resourceVersion"]) for one in cluster.pods()]
        with pytest.raises(NoRights, match=f"{lacking.verb} {lacking.rbac_resource} "):
            await restore_leftovers(elsewhere, lambda _event: None, "deployment/orders", force=True)
        after = [(one["metadata"]["name"], one["metadata"]["resourceVersion"]) for one in cluster.pods()]
        assert after == before

    meanwhile(session, look)


def test_who_restores_what_a_colleague_left_is_told_on_the_workload(cluster, session):
    async def look(elsewhere):
        say(cluster, LOST)
        await restore_leftovers(elsewhere, lambda _event: None, "deployment/orders", by="bob@desk")
        event = cluster.objects["events", "orders.s1.restored"]
        assert event["involvedObject"]["kind"] == "Deployment"
        assert "restored by bob@desk; session s1 of me@here" in event["message"]

    meanwhile(session, look)
