from __future__ import annotations

import copy
from collections import Counter

import pytest
import trio

from telepresence_py.cluster import client as client_module
from telepresence_py.cluster.owners import is_held_back
from telepresence_py.model.errors import (
    ClusterUnreachable,
    NoRights,
    PreconditionFailed,
    WorkloadHeld,
)
from telepresence_py.session import gates as gates_module
from telepresence_py.session import replica as replica_module
from telepresence_py.session import replicas as replicas_module
from telepresence_py.session import restoring as restoring_module
from telepresence_py.session.manifest import node_of
from telepresence_sidecar.contract import SESSION_LABEL
from tests.fakes.cluster import fake_cluster, running
from tests.telepresence_py.session.swapping import (
    Session,
    in_place,
    until,
    with_orders,
    with_orders_as,
)


@pytest.fixture
def cluster(monkeypatch):
    monkeypatch.setattr(client_module, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(replica_module, "NO_NODE_SECONDS", 0.2)
    monkeypatch.setattr(restoring_module, "AGAIN_SECONDS", 0.05)
    with fake_cluster() as fake:
        yield fake


@pytest.fixture
def session(tmp_path, cluster):
    return Session(tmp_path, cluster)


def sidecars(cluster):
    return [pod for pod in cluster.pods() if SESSION_LABEL in pod["metadata"].get("labels", {})]


def originals(cluster):
    return [pod for pod in cluster.pods() if SESSION_LABEL not in pod["metadata"].get("labels", {})]


# -- in place and back -----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3])
def test_every_original_is_replaced_and_comes_back(cluster, session, count):
    with_orders(cluster, count)

    async def body(replicas):
        await in_place(replicas)
        assert originals(cluster) == []
        assert len(sidecars(cluster)) == count
        assert await replicas.restore()
        assert len(originals(cluster)) == count
        assert sidecars(cluster) == []

    session.run(body)
    assert session.names.count("created") == count
    assert [name for name in session.names if name in ("in-place", "restored")] == ["in-place", "restored"]


@pytest.mark.parametrize("kind", ["replicaset", "replicationcontroller", "rollout"])
def test_a_workload_without_a_deployment_is_replaced_and_comes_back(tmp_path, cluster, kind):
    session = Session(tmp_path, with_orders_as(cluster, kind, 2), kind=kind)

    async def body(replicas):
        holder = "Rollout" if kind == "rollout" else "ServiceAccount"
        assert {one["metadata"]["ownerReferences"][0]["kind"] for one in sidecars(cluster)} == {holder}
        await in_place(replicas)
        assert originals(cluster) == []
        assert len(sidecars(cluster)) == 2
        assert await replicas.restore()

    session.run(body)
    assert len(originals(cluster)) == 2
    assert sidecars(cluster) == []
    written = {path.split("/namespaces/")[1].split("/")[1].split("?")[0] for path in writes(cluster)}
    assert written == {"pods"}


def writes(cluster):
    return [path for method, path in cluster.requests if method != "GET"]


@pytest.mark.parametrize("kind", ["deployment", "replicaset", "replicationcontroller", "rollout"])
def test_a_workload_without_pods_gets_one_that_nobody_adopts_and_it_goes_again(tmp_path, cluster, kind):
    if kind == "deployment":
        with_orders(cluster, 0)
    else:
        with_orders_as(cluster, kind, 0)
    session = Session(tmp_path, cluster, kind=kind)

    async def body(replicas):
        await in_place(replicas)
        (pod,) = cluster.pods()
        assert pod["metadata"]["labels"]["app"] == "orders"
        assert is_held_back(pod)
        assert await replicas.restore()

    session.run(body)
    assert cluster.pods() == []
    assert cluster.count("PATCH", "/pods/") == 0
    assert session.names[-1] == "restored"


def test_leaving_the_block_restores_what_was_not_restored(cluster, session):
    with_orders(cluster, 2)
    session.run(in_place)
    assert len(originals(cluster)) == 2
    assert sidecars(cluster) == []


def test_the_deployment_is_never_written(cluster, session):
    with_orders(cluster, 3)
    session.run(in_place)
    written = {path.split("?")[0].split("/")[5] for method, path in cluster.requests if method != "GET"}
    assert written == {"pods"}


def test_ten_replicas_cost_as_many_changes_as_there_are_pods_and_no_look_more_than_one(cluster, session):
    """Each is created, adopted, given back and deleted; its log is read for the host key."""
    counted = {}
    for count in (1, 10):
        with_orders(cluster, count)
        cluster.requests.clear()
        session.run(in_place)
        cluster.requests = [(method, path) for method, path in cluster.requests if "watch=1" not in path]
        counted[count] = Counter(
            "log" if "/log?" in path else "dry run" if "dryRun" in path else method
            for method, path in cluster.requests
        )
        cluster.remove("deployments", "orders")
    one, ten = counted[1], counted[10]
    assert ten - one == Counter({"POST": 9, "PATCH": 18, "DELETE": 9, "log": 9})


def test_one_list_and_one_watch_serve_all_waiting(cluster, session):
    with_orders(cluster, 3)
    session.run(in_place)
    assert cluster.count("GET", "watch=1") == 1
    assert cluster.count("POST", "dryRun") == 2
    assert cluster.count("GET", "/log?") == 3
    assert len(cluster.requests) <= 30


def test_the_pods_are_adopted_only_once_they_are_ready(cluster, session):
    with_orders(cluster)
    cluster.kubelet = lambda pod: running(pod, ready=SESSION_LABEL not in pod["metadata"]["labels"])

    async def body(replicas):
        await replicas.members[0].wait_running()
        with trio.move_on_after(0.3):
            await replicas.adopt()
        assert cluster.count("PATCH", "pods") == 0
        assert len(originals(cluster)) == 1
        cluster.edit("pods", "orders-abc-tp-1", lambda pod: pod.update(status=running(pod)))
        await in_place(replicas)
        assert originals(cluster) == []

    session.run(body)


GATES = {"readinessGates": [{"conditionType": "lb/ready"}]}


def gated(cluster, monkeypatch, when):
    """Pods for which `when` is true have ready containers and a gate that nobody sets yet."""
    monkeypatch.setattr(gates_module, "SOON_SECONDS", 0.05)
    monkeypatch.setattr(replica_module, "READY_SECONDS", 0.2)
    monkeypatch.setattr(replica_module, "GATE_SECONDS", 0.4)
    monkeypatch.setattr(restoring_module, "ORIGINAL_SECONDS", 0.5)

    def kubelet(pod):
        status = running(pod, ready=not when(pod))
        status["conditions"].append({"type": "ContainersReady", "status": "True"})
        return status

    cluster.kubelet = kubelet


def is_ours(pod):
    return SESSION_LABEL in pod["metadata"]["labels"]


def test_a_readiness_gate_that_nobody_sets_is_told_and_stops_before_an_original_is_touched(
    cluster, session, monkeypatch
):
    gated(cluster, monkeypatch, is_ours)
    with_orders(cluster, 2, **GATES)
    before = cluster.pod_names()

    async def body(replicas):
        with pytest.raises(PreconditionFailed, match="nobody sets its readiness gate lb/ready"):
            await replicas.adopt()
        assert cluster.pod_names() == sorted([*before, *(one.pod_name for one in replicas.members)])

    session.run(body)
    assert cluster.pod_names() == before
    assert session.names.count("waiting-for-gate") == 1


def test_a_readiness_gate_that_somebody_sets_late_is_waited_for(cluster, session, monkeypatch):
    gated(cluster, monkeypatch, is_ours)
    monkeypatch.setattr(replica_module, "GATE_SECONDS", 20)
    with_orders(cluster, **GATES)

    async def body(replicas):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(in_place, replicas)
            await until(lambda: "waiting-for-gate" in session.names)
            cluster.edit("pods", replicas.members[0].pod_name, lambda one: one.update(status=running(one)))
        assert originals(cluster) == []

    session.run(body)
    assert len(originals(cluster)) == 1


def test_a_readiness_gate_of_an_original_holds_a_restore_up_for_a_bounded_time_and_is_told(
    cluster, session, monkeypatch
):
    with_orders(cluster, **GATES)

    async def body(replicas):
        await in_place(replicas)
        gated(cluster, monkeypatch, lambda pod: not is_ours(pod))
        assert await replicas.restore()
        assert sidecars(cluster) == []

    session.run(body)
    said = [
        event.text for event in session.events if event.name in ("waiting-for-gate", "original-not-ready")
    ]
    assert len(said) == 2
    assert all("lb/ready" in text for text in said)


def test_an_original_on_a_node_that_cannot_have_the_sidecars_volume_is_not_waited_for(
    cluster, session, monkeypatch
):
    """As a disk that is attached to one node at a time is not attached to the original's while we have it."""
    monkeypatch.setattr(restoring_module, "VAIN_SECONDS", 0.2)
    cluster.add(
        "persistentvolumeclaims", {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    )
    with_orders(cluster, volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}])
    (first,) = cluster.pods()
    cluster.edit("pods", first["metadata"]["name"], lambda one: one["spec"].update(nodeName="node1"))

    def elsewhere(pod):
        pod["spec"]["nodeName"] = "node1" if is_ours(pod) else "node2"
        return running(pod, ready=is_ours(pod))

    async def body(replicas):
        assert node_of(sidecars(cluster)[0]) == "node1"
        await in_place(replicas)
        cluster.kubelet = elsewhere
        assert await replicas.restore()
        assert sidecars(cluster) == []

    session.run(body)
    assert "original-in-vain" in session.names


def test_in_place_is_said_when_the_originals_are_gone_and_who_is_still_ending_meanwhile(
    cluster, session, monkeypatch
):
    monkeypatch.setattr(replicas_module, "SOON_SECONDS", 0.1)
    with_orders(cluster)
    cluster.lingering = lambda pod: SESSION_LABEL not in pod["metadata"]["labels"]

    async def body(replicas):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(in_place, replicas)
            await until(lambda: "originals-ending" in session.names)
            assert "in-place" not in session.names
            cluster.lingering = lambda pod: False
            cluster.let_go()
        assert session.names[-1] == "in-place"

    session.run(body)


def test_an_original_whose_containers_have_ended_is_not_waited_for_until_its_node_has_cleaned_up(
    cluster, session
):
    with_orders(cluster)
    cluster.lingering = lambda pod: SESSION_LABEL not in pod["metadata"]["labels"]

    def end(pod):
        pod["status"]["phase"] = "Succeeded"

    def ending():
        return [pod for pod in cluster.pods() if pod["metadata"].get("deletionTimestamp")]

    async def body(replicas):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(in_place, replicas)
            await until(ending)
            assert "in-place" not in session.names
            cluster.edit("pods", ending()[0]["metadata"]["name"], end)
        assert session.names[-1] == "in-place"
        assert ending()

    session.run(body)


def test_each_sidecar_hands_over_to_another_original_while_it_still_lives(cluster, session):
    with_orders(cluster, 2)
    seen = []

    async def body(replicas):
        await in_place(replicas)

        async def ready(member, addresses):
            assert member.pod_name in cluster.pod_names()
            seen.append((member.pod_name, addresses))

        await replicas.restore(ready)

    session.run(body)
    assert [name for name, _ in seen] == ["orders-abc-tp-1", "orders-abc-tp-2"]
    assert all(addresses == ("10.1.2.3",) for _, addresses in seen)


def test_the_sidecar_stays_until_the_original_is_ready(cluster, session):
    with_orders(cluster)

    async def body(replicas):
        await in_place(replicas)
        cluster.kubelet = lambda pod: running(pod, ready=False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(replicas.restore)
            await until(lambda: originals(cluster))
            await trio.sleep(0.1)
            assert len(sidecars(cluster)) == 1
            name = originals(cluster)[0]["metadata"]["name"]
            cluster.edit("pods", name, lambda pod: pod.update(status=running(pod)))
        assert sidecars(cluster) == []

    session.run(body)


def test_an_original_that_finds_no_node_beside_the_sidecar_is_not_waited_for(cluster, session):
    with_orders(cluster)

    async def body(replicas):
        await in_place(replicas)
        cluster.kubelet = pending
        assert await replicas.restore()

    session.run(body)
    assert "original-in-vain" in session.names
    assert sidecars(cluster) == []


def test_an_original_whose_image_cannot_be_had_is_not_waited_for_long(cluster, session, monkeypatch):
    monkeypatch.setattr(restoring_module, "VAIN_SECONDS", 0.2)
    with_orders(cluster)
    waiting = {"name": "app", "state": {"waiting": {"reason": "ImagePullBackOff"}}}

    async def body(replicas):
        await in_place(replicas)
        cluster.kubelet = lambda pod: {"phase": "Pending", "containerStatuses": [waiting]}
        assert await replicas.restore()

    session.run(body)
    assert "original-in-vain" in session.names
    assert sidecars(cluster) == []


def pending(pod):
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes"}
    return {"phase": "Pending", "conditions": [condition]}


# -- refusals, with nothing left behind ------------------------------------------------------------------


def refused(cluster, session, error, match):
    before = cluster.pod_names()

    async def body(replicas):
        for member in replicas.members:
            await member.wait_running()

    with pytest.raises(error, match=match):
        session.run(body)
    assert cluster.pod_names() == before


def of_sidecar(pod):
    return SESSION_LABEL in (pod["metadata"].get("labels") or {})


@pytest.mark.parametrize(
    "reason", ["ErrImagePull", "ErrImageNeverPull", "ImagePullBackOff", "InvalidImageName"]
)
def test_a_missing_image_names_the_commands_that_cure_it(cluster, session, reason):
    with_orders(cluster, 2)
    waiting = {
        "name": "app",
        "image": "sidecar:1",
        "state": {"waiting": {"reason": reason, "message": "not\nfound"}},
    }
    cluster.kubelet = lambda pod: (
        {"phase": "Pending", "containerStatuses": [waiting]} if of_sidecar(pod) else running(pod)
    )
    refused(
        cluster,
        session,
        PreconditionFailed,
        r"sidecar:1.*`telepresence-py sidecar build`.*sidecar load`.*--image",
    )


def test_another_container_that_cannot_start_is_named_with_the_kubelets_reason(cluster, session):
    with_orders(cluster)
    waiting = {
        "name": "app",
        "state": {"waiting": {"reason": "CreateContainerConfigError", "message": "no secret s"}},
    }
    cluster.kubelet = lambda pod: (
        {"phase": "Pending", "containerStatuses": [waiting]} if of_sidecar(pod) else running(pod)
    )
    refused(cluster, session, PreconditionFailed, "container app .* CreateContainerConfigError: no secret s")


def test_a_pod_that_finds_no_node_is_given_up_with_the_schedulers_reason(cluster, session):
    with_orders(cluster)
    cluster.kubelet = lambda pod: pending(pod) if of_sidecar(pod) else running(pod)
    refused(cluster, session, PreconditionFailed, "no node has room .* 0/2 nodes")


def test_an_image_that_is_no_sidecar_says_nothing_and_is_told(cluster, session):
    with_orders(cluster)
    cluster.logs["orders-abc-tp-1"] = "usage: ..."
    ended = {"name": "app", "state": {"terminated": {"reason": "Error", "exitCode": 2}}}
    cluster.kubelet = lambda pod: (
        {"phase": "Failed", "containerStatuses": [ended]} if of_sidecar(pod) else running(pod)
    )
    refused(
        cluster, session, PreconditionFailed, r"ended at once \(container app Error\), and said last: usage"
    )


def test_who_may_not_read_the_log_is_told_so(cluster, session):
    with_orders(cluster)
    cluster.refuse = lambda method, path, body: (403, "no") if "/log?" in path else None
    refused(cluster, session, NoRights, "get pods/log")


def test_a_log_that_is_not_there_yet_is_asked_for_again(cluster, session):
    with_orders(cluster)
    answers = iter([(400, "container is waiting to start"), (404, "no such container")])
    cluster.refuse = lambda method, path, body: next(answers, None) if "/log?" in path else None
    session.run(in_place)
    assert "in-place" in session.names


def test_a_quota_that_is_full_stops_before_anything_is_touched(cluster, session):
    with_orders(cluster)
    cluster.refuse = lambda method, path, body: (403, "exceeded quota: q") if "dryRun" in path else None
    refused(cluster, session, PreconditionFailed, "^a quota of")
    assert cluster.count("POST", "/pods") == cluster.count("POST", "dryRun") == 1


def test_a_failure_in_the_middle_of_creating_removes_what_was_created(cluster, session):
    with_orders(cluster, 3)

    def third(method, path, body):
        name = body.get("metadata", {}).get("name", "")
        return (403, "exceeded quota: q") if method == "POST" and name.endswith("-3") else None

    cluster.refuse = third
    refused(cluster, session, PreconditionFailed, "quota")


@pytest.mark.parametrize("started", [True, False])
def test_only_a_pod_that_may_have_served_gets_all_its_time_to_end(cluster, session, started):
    """The program of one that just starts has not asked for SIGTERM yet: it would be waited for in vain."""
    asked = set()

    def note(method, path, body):
        if method == "DELETE":
            asked.add(body.get("gracePeriodSeconds"))

    with_orders(cluster)
    cluster.refuse = note
    if started:
        session.run(in_place)
    else:
        cluster.kubelet = lambda pod: pending(pod) if of_sidecar(pod) else running(pod)
        refused(cluster, session, PreconditionFailed, "no node has room")
    assert asked == {None if started else 5}


def test_resources_of_the_original_are_tried_where_a_limit_range_refuses_little(cluster, session):
    spec = {"containers": [{"name": "app", "resources": {"requests": {"cpu": "1", "gpu": "1"}}}]}
    with_orders(cluster, **spec)

    def refuse(method, path, body):
        if method == "POST" and "10m" in repr(body):
            return 403, "minimum cpu usage per Container is 50m, but request is 10m"
        return None

    cluster.refuse = refuse

    async def body(replicas):
        (pod,) = sidecars(cluster)
        assert pod["spec"]["containers"][0]["resources"] == {"requests": {"cpu": "1"}}

    session.run(body)


# -- webhooks --------------------------------------------------------------------------------------------


def inject(pod):
    if (pod["metadata"].get("annotations") or {}).get("mesh") != "injected":
        pod["spec"]["containers"].append({"name": "mesh", "image": "mesh:1"})
        pod["metadata"].setdefault("annotations", {})["mesh"] = "injected"


def test_a_container_that_a_webhook_injects_becomes_a_native_sidecar(cluster, session):
    cluster.admit = inject
    with_orders(cluster)

    async def body(replicas):
        (pod,) = sidecars(cluster)
        assert [c["name"] for c in pod["spec"]["containers"]] == ["app"]
        assert [(c["name"], c["restartPolicy"]) for c in pod["spec"]["initContainers"]] == [
            ("mesh", "Always")
        ]

    session.run(body)


def test_a_webhook_that_adds_its_native_sidecar_to_every_pod_is_left_to_do_so(cluster, session):
    def always(pod):
        pod["spec"].setdefault("initContainers", []).append({"name": "mesh", "restartPolicy": "Always"})

    cluster.admit = always
    with_orders(cluster)

    async def body(replicas):
        (pod,) = sidecars(cluster)
        assert [c["name"] for c in pod["spec"]["initContainers"]] == ["mesh"]

    session.run(body)


def test_a_webhook_that_adds_an_ordinary_container_to_every_pod_is_refused_in_time(cluster, session):
    cluster.admit = lambda pod: pod["spec"]["containers"].append({"name": "mesh"})
    with_orders(cluster)
    refused(cluster, session, PreconditionFailed, "a webhook adds container mesh")
    assert cluster.count("POST", "/pods?") == cluster.count("POST", "dryRun")


def test_a_webhook_without_dry_run_is_found_out_by_the_pod_itself(cluster, session):
    message = 'admission webhook "m" does not support dry run'
    with_orders(cluster)
    cluster.refuse = lambda method, path, body: (400, message) if "dryRun" in path else None
    cluster.admit = inject
    refused(cluster, session, PreconditionFailed, "adds container mesh")


# -- several sessions ------------------------------------------------------------------------------------


def test_of_two_sessions_one_wins_and_the_other_is_told_who(tmp_path, cluster, session):
    with_orders(cluster, 2)
    other = Session(tmp_path, cluster, holder="ann@desk", session="s2")
    outcomes = []

    async def contend(one):
        try:
            await one.hold(in_place)
        except WorkloadHeld as error:
            outcomes.append(str(error))
        else:
            outcomes.append("won")

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(contend, session)
            nursery.start_soon(contend, other)

    trio.run(main)
    assert sorted(text == "won" for text in outcomes) == [False, True]
    assert any("me@here" in text or "ann@desk" in text for text in outcomes)
    assert len(originals(cluster)) == 2
    assert sidecars(cluster) == []


def test_the_record_of_a_finished_session_is_removed_and_its_name_taken(cluster, session):
    with_orders(cluster)

    async def leave_a_record(replicas):
        old = copy.deepcopy(sidecars(cluster)[0])
        await replicas.restore()
        old["metadata"] |= {"uid": "uid-old", "labels": old["metadata"]["labels"] | {SESSION_LABEL: "old"}}
        cluster.add("pods", old | {"status": {"phase": "Succeeded"}})

    session.run(leave_a_record)
    assert cluster.objects["pods", "orders-abc-tp-1"]["metadata"]["uid"] == "uid-old"
    session.run(in_place)
    assert sidecars(cluster) == []


def test_a_creation_whose_answer_was_lost_is_recognised(cluster, session):
    with_orders(cluster)
    answer = cluster.answer

    def lose_one(method, parts, query, body):
        given = answer(method, parts, query, body)
        if method == "POST" and "dryRun" not in query and not session.names:
            session.events.append(type("Lost", (), {"name": "lost"})())
            return 503, {"message": "the answer is lost"}
        return given

    cluster.answer = lose_one
    session.run(in_place)
    assert "in-place" in session.names
    assert sidecars(cluster) == []


# -- cancellation and a server that goes away ------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.05, 0.1, 0.2])
def test_a_cancellation_at_any_moment_leaves_the_originals(cluster, session, seconds):
    with_orders(cluster, 3)

    async def main():
        with trio.move_on_after(seconds):
            await session.hold(in_place)

    trio.run(main)
    assert len(originals(cluster)) == 3
    assert sidecars(cluster) == []


def test_watches_that_break_or_grow_too_old_are_taken_up_again(cluster, session):
    with_orders(cluster, 2)
    cluster.watches_forgotten = 2
    session.run(in_place)
    assert cluster.count("GET", "watch=1") >= 3
    assert len(originals(cluster)) == 2


def test_a_watch_that_breaks_goes_on_where_it_was_and_nobody_is_troubled(cluster, session):
    with_orders(cluster)

    async def body(replicas):
        await in_place(replicas)
        before = len(cluster.requests)
        cluster.break_watches()
        await until(lambda: cluster.count("GET", "watch=1") == 2)
        assert len(cluster.requests) == before + 1
        await replicas.restore()

    session.run(body)
    assert not {"api-server-away", "replica-lost"} & set(session.names)


def test_an_api_server_that_goes_away_for_a_while_is_told_and_the_session_stays(cluster, session):
    with_orders(cluster)

    async def body(replicas):
        await in_place(replicas)
        cluster.cut_connections = 3
        cluster.break_watches()
        await until(lambda: "api-server-away" in session.names)
        await until(lambda: cluster.cut_connections == 0)
        cluster.edit("deployments", "orders", lambda one: None)
        await replicas.restore()
        assert "api-server-back" in session.names

    session.run(body)
    assert sidecars(cluster) == []


def test_a_restore_waits_for_an_api_server_that_is_away(cluster, session):
    with_orders(cluster)

    async def body(replicas):
        await in_place(replicas)
        cluster.cut_connections = 9
        assert await replicas.restore()

    session.run(body)
    assert "restore-waits" in session.names
    assert len(originals(cluster)) == 1


def test_a_restore_without_an_end_is_given_up_and_says_how_it_heals(cluster, session, monkeypatch):
    monkeypatch.setattr(replicas_module, "RESTORE_SECONDS", 0.5)
    with_orders(cluster)

    async def body(replicas):
        await in_place(replicas)
        cluster.cut_connections = 10**9
        assert not await replicas.restore()
        cluster.cut_connections = 0

    session.run(body)
    assert "not-restored" in session.names
    assert sidecars(cluster) == []


def test_an_api_server_that_is_away_at_the_beginning_is_told(cluster, session):
    cluster.cut_connections = 10**9
    with pytest.raises(ClusterUnreachable):
        session.run(in_place)
