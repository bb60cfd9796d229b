"""What a run would do: names, the pod like its model and yet of no workload, ports, the Service."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from telepresence_py.cluster.templates import ModelSnapshot, Template
from telepresence_py.model.errors import BadUsage, NamedObjectMissing, PreconditionFailed
from telepresence_py.model.intent import ClusterChoice, LocalhostChoice, Model, PortOverride, RunIntent
from telepresence_py.model.network import PortMap
from telepresence_py.session.identity import SessionIdentity
from telepresence_py.session.manifest import node_of, sidecar_pod
from telepresence_py.session.run_plan import default_name, of_no_workload, plan_run, service_of

IDENTITY = SessionIdentity("1a2b3c4d", "ssh-ed25519 AAAA", "2026-01-01T00:00:00Z")
LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


def intent(model="job/migrate", **changes):
    kind, _, name = model.partition("/")
    fields = {
        "cluster": ClusterChoice(),
        "name": "api",
        "model": Model(kind, name) if model else None,
        "service_account": None,
        "exposed": (),
        "command": ("x",),
        "holder": "me@here",
    }
    return RunIntent(**(fields | changes))


def snapshot(labels=None, annotations=None, is_pod=False, **spec):
    container = {
        "name": "app",
        "image": "i",
        "ports": [{"name": "http", "containerPort": 8080, "hostPort": 80}],
    }
    template = {
        "metadata": {"labels": labels or {"app": "orders"}, "annotations": annotations or {}},
        "spec": {"containers": [container]} | spec,
    }
    return ModelSnapshot(Template("job/migrate", template, is_pod), ())


def made(plan):
    return sidecar_pod(of_no_workload(plan.pod), plan.name, plan.shape)


@pytest.mark.parametrize(
    "holder", ["ann@work", "Ann.Lee@x", "1001@box", "@", "-@", "ünal@x", "x" * 80 + "@y"]
)
def test_a_name_is_made_from_user_and_session_and_is_a_dns_label(holder):
    name = default_name(holder, "1a2b3c4d")
    assert LABEL.fullmatch(name)
    assert len(name) <= 63
    assert name.endswith("1a2b3c4d")


def test_a_user_finds_itself_in_the_name():
    assert default_name("Ann.Lee@work", "1a2b3c4d") == "run-ann-lee-1a2b3c4d"


def test_a_plain_pod_is_the_sidecar_alone_under_restricted_with_small_requests():
    pod = made(plan_run(intent(model="", service_account="robot"), None, IDENTITY))
    (container,) = pod["spec"]["containers"]
    assert "initContainers" not in pod["spec"]
    assert pod["spec"]["serviceAccountName"] == "robot"
    assert container["resources"] == {"requests": {"cpu": "10m", "memory": "64Mi"}}
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["runAsNonRoot"] is True


@pytest.mark.parametrize("model", ["", "job/migrate"])
def test_no_label_but_ours_is_on_the_pod_and_no_owner(model):
    labels = {"app": "orders", "batch.kubernetes.io/controller-uid": "u", "pod-template-hash": "h"}
    pod = made(plan_run(intent(model=model), snapshot(labels) if model else None, IDENTITY))
    assert pod["metadata"]["labels"] == {"telepresence-py/session": "1a2b3c4d"}
    assert "ownerReferences" not in pod["metadata"]
    assert pod["metadata"]["annotations"]["telepresence-py/workload"] == "run/api"


def test_annotations_of_the_template_are_kept_as_webhooks_go_by_them_and_those_of_a_living_pod_are_not():
    living = {
        "cni.projectcalico.org/podIP": "10.0.0.1",
        "k8s.v1.cni.cncf.io/network-status": "[]",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
    }
    plan = plan_run(intent(), snapshot(annotations=living | {"inject": "yes"}), IDENTITY)
    annotations = made(plan)["metadata"]["annotations"]
    assert annotations["inject"] == "yes"
    assert not living.keys() & annotations.keys()


def test_the_dry_run_is_of_the_models_own_pod_labels_included():
    plan = plan_run(intent(), snapshot({"inject": "true"}), IDENTITY)
    assert plan.pod["metadata"]["labels"] == {"inject": "true"}
    assert plan.is_template
    assert not plan_run(intent(), snapshot(is_pod=True), IDENTITY).is_template


def test_what_holds_for_the_workloads_own_pods_does_not_for_ours():
    spec = {
        "activeDeadlineSeconds": 5,
        "schedulingGates": [{"name": "queue"}],
        "readinessGates": [{"conditionType": "lb"}],
        "topologySpreadConstraints": [{}],
        "affinity": {"podAntiAffinity": {"x": 1}, "podAffinity": {"y": 1}},
    }
    pod = made(plan_run(intent(), snapshot(**spec), IDENTITY))
    assert not (spec.keys() - {"affinity"}) & pod["spec"].keys()
    assert pod["spec"]["affinity"] == {"podAffinity": {"y": 1}}
    assert "hostPort" not in pod["spec"]["containers"][0]["ports"][0]


def test_the_template_itself_is_never_changed():
    model = snapshot(affinity={"podAntiAffinity": {"x": 1}})
    before = repr(model)
    made(plan_run(intent(service_account="robot"), model, IDENTITY))
    assert repr(model) == before


def test_only_exposed_ports_are_served_and_keep_the_templates_names():
    plan = plan_run(intent(exposed=(PortOverride(9000, 8080), PortOverride(7, 7))), snapshot(), IDENTITY)
    assert plan.ports == (PortMap(7, 7), PortMap(8080, 9000, "http"))
    assert plan.shape.config.ports == (7, 8080)
    assert plan_run(intent(), snapshot(), IDENTITY).ports == ()


def test_a_port_of_another_container_is_refused_naming_it():
    helper = {"name": "helper", "ports": [{"containerPort": 9000}]}
    containers = [{"name": "app"}, helper]
    with pytest.raises(NamedObjectMissing, match="job/migrate:helper"):
        plan_run(intent(exposed=(PortOverride(1, 9000),)), snapshot(containers=containers), IDENTITY)


@pytest.mark.parametrize(
    ("spec", "word"), [({"hostNetwork": True}, "hostNetwork"), ({"os": {"name": "windows"}}, "Windows")]
)
def test_what_cannot_be_imitated_is_refused_with_the_reason(spec, word):
    with pytest.raises(PreconditionFailed, match=word):
        plan_run(intent(), snapshot(**spec), IDENTITY)


def test_a_sessions_own_pod_is_no_model():
    with pytest.raises(PreconditionFailed, match="session's own pod"):
        plan_run(intent(), snapshot({"telepresence-py/session": "x"}, is_pod=True), IDENTITY)


def test_a_claim_that_is_in_use_brings_the_pod_to_its_node():
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    user = {"metadata": {"name": "db-0"}, "spec": {"nodeName": "node-1", "volumes": [volume]}}
    model = replace(snapshot(), claims={"data": frozenset({"ReadWriteOnce"})}, pods=(user,))
    plan = plan_run(intent(), model, IDENTITY)
    assert node_of(made(plan)) == "node-1"
    assert "db-0" in plan.notices[0]


def test_the_service_selects_the_pod_and_is_owned_by_it():
    exposed = (PortOverride(9000, 80), PortOverride(5353, 53, "UDP"))
    plan = plan_run(intent(exposed=exposed), snapshot(), IDENTITY)
    service = service_of(plan, "uid-1")
    assert service["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "Pod", "name": "api", "uid": "uid-1"}
    ]
    assert service["spec"]["selector"].items() <= made(plan)["metadata"]["labels"].items()
    assert service["spec"]["ports"] == [
        {"name": "udp-53", "port": 53, "targetPort": 53, "protocol": "UDP"},
        {"name": "tcp-80", "port": 80, "targetPort": 80, "protocol": "TCP"},
    ]


def test_every_change_is_told_with_its_undo():
    plan = plan_run(intent(exposed=(PortOverride(9000, 80),)), snapshot(), IDENTITY)
    assert [change.do for change in plan.changes] == ["create pod api", "create service api"]
    assert len(plan_run(intent(), snapshot(), IDENTITY).changes) == 1


def test_a_runs_own_port_is_not_looked_for_in_the_pod():
    exposed = (PortOverride(9000, 8080),)
    for model in ("job/migrate", ""):
        asked = intent(model, exposed=exposed, localhost=LocalhostChoice(pod_localhost=(8080,)))
        with pytest.raises(BadUsage, match="--pod-localhost 8080"):
            plan_run(asked, snapshot() if model else None, IDENTITY)
