"""A run's pod and Service on the small API server: created in order, refused, interrupted, removed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from telepresence_py.cluster.client import open_cluster
from telepresence_py.cluster.templates import ModelSnapshot, Template
from telepresence_py.model.errors import PreconditionFailed, SessionLost, WorkloadHeld, one_error
from telepresence_py.model.intent import ClusterChoice, Model, PortOverride, RunIntent
from telepresence_py.session import own_pod as own_pod_module
from telepresence_py.session.identity import SessionIdentity
from telepresence_py.session.leftovers import list_leftovers, restore_leftovers
from telepresence_py.session.own_pod import hold_own_pod, rehearse_own_pod, require_free_name
from telepresence_py.session.run_plan import plan_run
from tests.fakes.cluster import fake_cluster, no_plugin, write_kubeconfig

IDENTITY = SessionIdentity("s1", "ssh-ed25519 A", "2026-01-01T00:00:00Z")
LIKE_A_JOB = RunIntent(
    cluster=ClusterChoice(),
    name="api",
    model=Model("job", "x"),
    service_account=None,
    exposed=(),
    command=("x",),
    holder="me@here",
)
EXPOSED = (PortOverride(9000, 8080),)


@pytest.fixture
def cluster():
    with fake_cluster() as one:
        yield one


class Runner:
    """Runs `api` with port 8080 exposed; `events` are the names of its news."""

    def __init__(self, tmp_path, fake, session="s1", exposed=EXPOSED):
        self.kubeconfig = write_kubeconfig(tmp_path / "config", fake.url)
        intent = RunIntent(
            cluster=ClusterChoice(),
            name="api",
            model=None,
            service_account=None,
            exposed=exposed,
            command=("x",),
            holder=f"{session}@here",
        )
        self.plan = plan_run(intent, None, replace(IDENTITY, session=session))
        self.events = []

    @property
    def names(self):
        return [event.name for event in self.events]

    def call(self, question):
        async def main():
            with trio.fail_after(30), one_error():
                async with open_cluster(ClusterChoice(self.kubeconfig), no_plugin) as opened:
                    return await question(opened)

        return trio.run(main)

    async def hold(self, opened, body):
        async with trio.open_nursery() as nursery:
            admission = await rehearse_own_pod(opened, self.plan)
            async with hold_own_pod(nursery, opened, self.plan, admission, self.events.append) as pod:
                await body(pod)
            nursery.cancel_scope.cancel()

    def run(self, body):
        self.call(lambda opened: self.hold(opened, body))


@pytest.fixture
def runner(tmp_path, cluster):
    return Runner(tmp_path, cluster)


def things(cluster):
    return sorted(key for key in cluster.objects if key[0] in ("pods", "services"))


async def nothing(_pod):
    pass


def finish(pod):
    pod["status"]["phase"] = "Succeeded"


def test_the_pod_comes_before_its_service_and_both_are_gone_after(cluster, runner):
    async def body(_pod):
        assert things(cluster) == [("pods", "api"), ("services", "api")]

    runner.run(body)
    assert things(cluster) == []
    assert [
        path.split("?")[0].rpartition("/")[2] for method, path in cluster.requests if method == "POST"
    ] == [
        "pods",
        "pods",
        "services",
    ]
    assert runner.names[-1] == "removed"


def test_without_exposed_ports_no_service_is_asked_for(tmp_path, cluster):
    Runner(tmp_path, cluster, exposed=()).run(nothing)
    assert cluster.count("POST", "/services") == 0
    assert cluster.count("GET", "/services") == 0


def test_a_service_that_is_refused_takes_the_pod_along(cluster, runner):
    def refuse(method, path, body):
        return (403, "exceeded quota: services") if method == "POST" and "services" in path else None

    cluster.refuse = refuse
    with pytest.raises(PreconditionFailed, match="quota"):
        runner.run(nothing)
    assert things(cluster) == []


def test_a_service_that_somebody_makes_at_the_same_instant_is_told_and_left(cluster, runner):
    def rival(method, path, body):
        if method == "POST" and "services" in path and ("services", "api") not in cluster.objects:
            cluster.add("services", {"metadata": {"name": "api"}, "spec": {}})

    cluster.refuse = rival
    with pytest.raises(WorkloadHeld, match=r"service api .* choose another name"):
        runner.run(nothing)
    assert things(cluster) == [("services", "api")]


def test_a_rival_session_at_the_same_instant_is_told_and_left(tmp_path, cluster, runner):
    rival = Runner(tmp_path, cluster, "s2")

    async def both(opened):
        async def lose(_pod):
            await runner.hold(opened, nothing)

        await rival.hold(opened, lose)

    with pytest.raises(WorkloadHeld, match="s2@here"):
        runner.call(both)


def test_the_rival_lives_on(tmp_path, cluster, runner):
    rival = Runner(tmp_path, cluster, "s2")

    async def lose(pod):
        async with open_cluster(ClusterChoice(runner.kubeconfig), no_plugin) as opened:
            with pytest.raises(WorkloadHeld), one_error():
                await runner.hold(opened, nothing)
        assert things(cluster) == [("pods", "api"), ("services", "api")]
        assert runner.names == []  # it has removed nothing, and does not say so

    rival.run(lose)


def test_an_answer_that_was_lost_is_no_rival(cluster, runner):
    """The Service was made, the connection broke; tried again, it meets itself."""

    def cut(method, path, body):
        if method == "POST" and "services" in path and ("services", "api") not in cluster.objects:
            cluster.add("services", body)

    cluster.refuse = cut
    runner.run(nothing)
    assert things(cluster) == []


def test_the_service_of_a_former_run_is_waited_for(cluster, runner):
    owner = {"kind": "Pod", "name": "api", "uid": "former"}
    labels = {"telepresence-py/session": "s0"}
    metadata = {"name": "api", "labels": labels, "ownerReferences": [owner]}
    cluster.objects["services", "api"] = {"metadata": metadata, "spec": {}}
    runner.call(lambda opened: require_free_name(opened, runner.plan))
    runner.run(nothing)
    assert things(cluster) == []


@pytest.mark.parametrize("plural", ["pods", "services"])
def test_a_name_that_somebody_else_has_is_refused_beforehand(cluster, runner, plural):
    thing = {"metadata": {"name": "api"}, "spec": {"containers": []}, "status": {"phase": "Running"}}
    cluster.add(plural, thing)
    with pytest.raises(WorkloadHeld, match="none of a session is there already: choose another name"):
        runner.call(lambda opened: require_free_name(opened, runner.plan))


def test_a_cancellation_between_pod_and_service_leaves_nothing(cluster, runner):
    async def main(opened):
        with trio.CancelScope() as scope:

            def cancel(method, path, body):
                if method == "POST" and "services" in path:
                    trio.from_thread.run_sync(scope.cancel, trio_token=token)

            token = trio.lowlevel.current_trio_token()
            cluster.refuse = cancel
            await runner.hold(opened, nothing)

    runner.call(main)
    assert things(cluster) == []


def test_what_a_dead_run_left_goes_with_the_next_run_and_nothing_else(tmp_path, cluster, runner):
    def leave(name, workload, phase):
        labels = {"telepresence-py/session": name}
        metadata = {"name": name, "labels": labels, "annotations": {"telepresence-py/workload": workload}}
        spec = {"containers": [{"name": "sidecar"}]}
        pod = cluster.add("pods", {"metadata": metadata, "spec": spec, "status": {"phase": phase}})
        owner = {"kind": "Pod", "name": name, "uid": pod["metadata"]["uid"]}
        cluster.add("services", {"metadata": {"name": name, "ownerReferences": [owner]}, "spec": {}})

    leave("dead", "run/dead", "Succeeded")
    leave("living", "run/living", "Running")
    leave("orders-tp-1", "deployment/orders", "Succeeded")
    runner.run(nothing)
    left = [name for plural, name in things(cluster) if plural == "pods"]
    assert left == ["living", "orders-tp-1"]
    assert ("services", "dead") not in cluster.objects


def test_a_run_is_removed_by_its_name_and_no_workload_is_asked_for(cluster, runner):
    async def main(opened):
        cluster.logs["api"] = "client lost\n"

        async def abandon(_pod):
            (one,) = await list_leftovers(opened)
            assert (one.workload, one.state) == ("run/api", "dead")
            await restore_leftovers(opened, runner.events.append, "run/api")

        await runner.hold(opened, abandon)

    runner.call(main)
    assert "Removed run/api" in [event.text for event in runner.events]
    assert things(cluster) == []
    assert cluster.count("GET", "/replicasets") == cluster.count("GET", "/deployments") == 0
    assert cluster.count("PATCH", "") == 0


@pytest.mark.parametrize("end", ["delete", "evict"])
def test_a_pod_that_somebody_ends_ends_the_session(cluster, runner, end):
    async def body(pod):
        if end == "delete":
            cluster.remove("pods", "api")
        else:
            cluster.edit(
                "pods", "api", lambda one: one.update(status={"phase": "Failed", "reason": "Evicted"})
            )
        await pod.wait_lost()

    with pytest.raises(SessionLost, match="was deleted" if end == "delete" else r"has ended .*Evicted"):
        runner.run(body)
    assert things(cluster) == []


def test_a_removal_that_cannot_be_done_is_told_with_what_heals_it(cluster, runner, monkeypatch):
    monkeypatch.setattr(own_pod_module, "REMOVE_SECONDS", 0.3)

    async def body(_pod):
        cluster.refuse = lambda method, path, body: (503, "away") if method == "DELETE" else None

    runner.run(body)
    assert runner.names[-1] == "not-removed"
    assert "30 s" in runner.events[-1].text


def test_what_webhooks_add_to_the_models_own_pod_is_in_ours(cluster, runner):
    """Also where they go by a label, which ours does not have."""

    def inject(pod):
        if (pod["metadata"].get("labels") or {}).get("inject"):
            pod["spec"]["containers"].append({"name": "mesh"})

    cluster.admit = inject
    template = {"metadata": {"labels": {"inject": "true"}}, "spec": {"containers": [{"name": "app"}]}}
    model = ModelSnapshot(Template("job/x", template), ())
    plan = plan_run(LIKE_A_JOB, model, IDENTITY)
    admission = runner.call(lambda opened: rehearse_own_pod(opened, plan))
    (mesh,) = admission.pod["spec"]["initContainers"]
    assert (mesh["name"], mesh["restartPolicy"]) == ("mesh", "Always")


def test_that_the_models_own_pod_is_refused_is_no_reason_against_ours(cluster, runner):
    def refuse(method, path, body):
        spec = body.get("spec", {})
        if method == "POST" and spec.get("activeDeadlineSeconds"):
            return 403, "exceeded quota: much"
        return None

    cluster.refuse = refuse
    spec = {"containers": [{"name": "app"}], "activeDeadlineSeconds": 5}
    model = ModelSnapshot(Template("job/x", {"metadata": {}, "spec": spec}), ())
    plan = plan_run(LIKE_A_JOB, model, IDENTITY)
    assert runner.call(lambda opened: rehearse_own_pod(opened, plan)).pod["spec"]["containers"]


def test_where_a_webhook_knows_no_dry_run_the_creation_tells(cluster, runner):
    def refuse(method, path, body):
        return (400, "admission webhook x does not support dry run") if "dryRun" in path else None

    cluster.refuse = refuse
    runner.run(nothing)
    assert things(cluster) == []
