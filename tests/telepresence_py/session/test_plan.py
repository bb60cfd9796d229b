from __future__ import annotations

import copy
from dataclasses import replace

import pytest

from telepresence_py.cluster.workloads import WorkloadSnapshot
from telepresence_py.model.errors import BadUsage, NamedObjectMissing, PreconditionFailed, WorkloadHeld
from telepresence_py.model.image import DEFAULT_IMAGE
from telepresence_py.model.intent import ClusterChoice, LocalhostChoice, PortOverride, SwapIntent
from telepresence_py.model.network import Mount, PortMap
from telepresence_py.session.identity import SessionIdentity
from telepresence_py.session.plan import plan_swap
from telepresence_sidecar.contract import HOLDER_ANNOTATION, SESSION_LABEL, SINCE_ANNOTATION
from tests.fakes.cluster import deployed, deployment, original, running

IDENTITY = SessionIdentity("s1", "ssh-ed25519 AAAA", "2026-01-01T00:00:00Z")


def app(**more):
    return {"name": "app", "ports": [{"containerPort": 8080, "name": "http"}]} | more


def service(name="orders", target=8080, **port):
    return {
        "metadata": {"name": name},
        "spec": {"selector": {"app": "orders"}, "ports": [{"port": 80, "targetPort": target} | port]},
    }


def pod_of(replicaset, name, ready=True):
    pod = original(replicaset, name)
    pod["metadata"] |= {"uid": f"uid-{name}"}
    return pod | {"status": running(pod, ready)}


def snapshot(replicas=1, services=(), pods=None, annotations=None, **spec):
    owner, replicaset = deployment(replicas, **spec)
    replicaset["spec"]["template"]["metadata"]["annotations"] = annotations or {}
    if pods is None:
        pods = [pod_of(replicaset, f"orders-abc-{number}") for number in range(replicas)]
    return WorkloadSnapshot("dev", "shop", deployed(owner, replicaset), tuple(pods), tuple(services))


def plan(seen=None, container=None, ports=(), **more):
    intent = SwapIntent(
        cluster=ClusterChoice(),
        kind="deployment",
        name="orders",
        container=container,
        ports=tuple(ports),
        command=("x",),
        holder="me@here",
        **more,
    )
    return plan_swap(intent, seen or snapshot(), IDENTITY)


def test_each_replica_gets_a_sidecar_pod_that_replaces_one_original():
    made = plan(snapshot(3))
    assert [one.pod_name for one in made.replicas] == [f"orders-abc-tp-{n}" for n in (1, 2, 3)]
    assert len({one.original_uid for one in made.replicas}) == 3
    assert made.selector == "app=orders"
    assert made.shape.image == DEFAULT_IMAGE
    assert made.config.session == "s1"


def test_options_of_the_command_line_reach_the_sidecar():
    made = plan(image="mine:2", grace_seconds=5.0)
    assert made.shape.image == "mine:2"
    assert made.config.grace == 5.0
    assert made.config.holder == "me@here"


def test_every_change_is_printed_with_what_takes_it_back():
    changes = plan(snapshot(2)).changes
    assert len(changes) == 5
    assert all(change.do and change.undo for change in changes)
    assert changes[0].do == "create pod orders-abc-tp-1"
    assert "orders-abc-0" in changes[2].do
    assert "Event" in changes[4].do


# -- which ReplicaSet ------------------------------------------------------------------------------------


def two_replicasets(old_ready, new_ready):
    owner, old = deployment(2)
    new = copy.deepcopy(old)
    new["metadata"] |= {"name": "orders-new", "uid": "uid-new"}
    pods = [pod_of(old, f"old-{n}", ready) for n, ready in enumerate(old_ready)]
    pods += [pod_of(new, f"new-{n}", ready) for n, ready in enumerate(new_ready)]
    return WorkloadSnapshot("dev", "shop", deployed(owner, old, new), tuple(pods), ())


def test_in_a_stuck_rollout_the_serving_replicaset_is_taken_and_never_the_newest():
    made = plan(two_replicasets([True, True], [False]))
    assert {one.owner.name for one in made.replicas} == {"orders-abc"}


def test_in_a_rollout_every_serving_replicaset_is_taken_and_it_is_said():
    made = plan(two_replicasets([True, True], [True]))
    assert [one.pod_name for one in made.replicas] == [
        "orders-abc-tp-1",
        "orders-abc-tp-2",
        "orders-new-tp-1",
    ]
    assert any("rollout" in notice for notice in made.notices)


def test_pods_that_are_not_ready_count_too_as_a_replicaset_removes_them_first():
    made = plan(two_replicasets([False, True], []))
    assert [one.original for one in made.replicas] == ["old-1", "old-0"]


def test_without_a_ready_pod_there_is_nothing_to_stand_in_for():
    seen = two_replicasets([False], [])
    seen.pods[0]["status"]["containerStatuses"] = [
        {"name": "app", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    ]
    with pytest.raises(PreconditionFailed, match="old-0: container app CrashLoopBackOff"):
        plan(seen)


def test_pods_on_their_way_out_are_no_originals():
    seen = snapshot(2)
    seen.pods[0]["metadata"]["deletionTimestamp"] = "now"
    assert [one.original for one in plan(seen).replicas] == ["orders-abc-1"]


# -- no pods ---------------------------------------------------------------------------------------------


def asleep(*names, template=None, revisions=()):
    """A deployment of no replicas; its ReplicaSets differ by the image in their templates."""
    owner, first = deployment(0)
    owner["spec"]["template"] = {"metadata": {"labels": {"app": "orders"}}, "spec": {"image": template}}
    replicasets = []
    for number, name in enumerate(names):
        one = copy.deepcopy(first)
        one["metadata"] |= {"name": name, "uid": f"uid-{name}", "creationTimestamp": f"2026-01-0{number + 1}"}
        if revisions:
            one["metadata"]["annotations"] = {"deployment.kubernetes.io/revision": str(revisions[number])}
        one["spec"]["template"]["metadata"] = {"labels": {"app": "orders", "pod-template-hash": name}}
        one["spec"]["template"]["spec"]["image"] = name
        replicasets.append(one)
    return WorkloadSnapshot("dev", "shop", deployed(owner, *replicasets), (), ())


def test_a_workload_without_pods_gets_one_that_replaces_nobody_and_it_is_said():
    made = plan(snapshot(0))
    assert [(one.pod_name, one.original) for one in made.replicas] == [("orders-abc-tp-1", None)]
    assert [change.do for change in made.changes][:-1] == ["create pod orders-abc-tp-1"]
    assert any("0 replicas" in notice for notice in made.notices)


def newest_of(seen):
    return seen.workload.newest.name


def test_without_pods_the_replicaset_of_the_present_template_says_what_a_pod_is():
    seen = asleep("old", "new")
    seen.workload.json["spec"]["template"]["spec"] = seen.workload.pod_owners[0].template["spec"]
    assert newest_of(seen) == "old"


def test_without_pods_and_while_paused_the_last_revision_says_what_a_pod_is():
    assert newest_of(asleep("old", "new")) == "new"
    assert newest_of(asleep("old", "new", revisions=(10, 9))) == "old"


def test_without_pods_and_without_any_replicaset_there_is_nothing_to_stand_in_for():
    with pytest.raises(PreconditionFailed, match=r"0 replicas.*scale it up"):
        plan(asleep())


def test_without_pods_the_mounts_are_those_of_the_template():
    container = app(volumeMounts=[{"name": "s", "mountPath": "/etc/key"}])
    made = plan(snapshot(0, containers=[container], volumes=[{"name": "s", "secret": {}}]))
    assert made.mounts == (Mount("/etc/key", "s", "secret", True),)


def test_a_workload_that_is_being_deleted_is_left_alone():
    seen = snapshot()
    with pytest.raises(PreconditionFailed, match="being deleted"):
        plan(replace(seen, workload=replace(seen.workload, ending=True)))


# -- who holds it ----------------------------------------------------------------------------------------


def sidecar(phase="Running"):
    pod = pod_of(deployment()[1], "orders-abc-tp-1")
    pod["metadata"]["labels"][SESSION_LABEL] = "other"
    pod["metadata"]["annotations"] = {HOLDER_ANNOTATION: "ann@desk", SINCE_ANNOTATION: "2026-01-02T03:04:05Z"}
    pod["status"]["phase"] = phase
    return pod


def test_a_workload_that_another_session_has_is_refused_naming_the_holder():
    seen = snapshot(pods=[sidecar()])
    with pytest.raises(WorkloadHeld, match=r"ann@desk since 2026-01-02T03:04:05Z.*restore"):
        plan(seen)


def test_the_record_of_a_finished_session_is_in_nobodys_way():
    seen = snapshot(pods=[sidecar("Succeeded"), pod_of(deployment()[1], "orders-abc-0")])
    assert [one.original for one in plan(seen).replicas] == ["orders-abc-0"]


# -- container -------------------------------------------------------------------------------------------

TWO = [{"name": "proxy", "ports": [{"containerPort": 9000}]}, app()]


@pytest.mark.parametrize(
    ("arguments", "asked", "name", "reason"),
    [
        ({}, None, "app", "only one"),
        ({"containers": TWO}, "app", "app", "named"),
        (
            {"containers": TWO, "annotations": {"kubectl.kubernetes.io/default-container": "app"}},
            None,
            "app",
            "annot",
        ),
        ({"containers": TWO, "services": [service(target="http")]}, None, "app", "service orders"),
        ({"containers": TWO, "services": [service(target=8080)]}, None, "app", "service orders"),
        ({"containers": TWO}, None, "proxy", "first of 2"),
        (
            {"containers": TWO, "annotations": {"kubectl.kubernetes.io/default-container": "x"}},
            None,
            "proxy",
            "first",
        ),
    ],
)
def test_the_container_is_chosen_by_name_annotation_service_order_and_it_is_said_why(
    arguments, asked, name, reason
):
    made = plan(snapshot(**arguments), container=asked)
    assert made.container == name
    assert reason in made.container_reason


def test_an_unknown_container_is_told_with_the_nearest_name():
    with pytest.raises(NamedObjectMissing, match='did you mean "app"'):
        plan(container="ap")


def test_the_mounts_are_those_of_a_living_pod_with_what_admission_mounts():
    seen = snapshot()
    seen.pods[0]["spec"] |= {
        "volumes": [
            {"name": "kube-api-access-x", "projected": {}},
            {"name": "s", "secret": {}},
            {"emptyDir": {}, "name": "t"},
        ]
    }
    seen.pods[0]["spec"]["containers"][0]["volumeMounts"] = [
        {
            "name": "kube-api-access-x",
            "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
            "readOnly": True,
        },
        {"name": "s", "mountPath": "/etc/key", "subPath": "key"},
        {"name": "t", "mountPath": "/tmp/work"},
    ]
    assert plan(seen).mounts == (
        Mount("/var/run/secrets/kubernetes.io/serviceaccount", "kube-api-access-x", "projected", True),
        Mount("/etc/key", "s", "secret", True, "key"),
        Mount("/tmp/work", "t", "emptyDir", False),
    )


# -- ports -----------------------------------------------------------------------------------------------


def ports(*arguments, overrides=(), **more):
    return plan(snapshot(**more), ports=overrides).ports


def test_declared_ports_and_service_targets_are_mapped_one_to_one():
    services = [service(target="http"), service("other", 9090), service("default", 0)]
    del services[2]["spec"]["ports"][0]["targetPort"]
    assert ports(services=services) == (
        PortMap(80, 80),
        PortMap(8080, 8080, "http"),
        PortMap(9090, 9090),
    )


def test_services_of_other_pods_count_for_nothing():
    other = service(target=7000)
    other["spec"]["selector"] = {"app": "payments"}
    headless = service(target=7001)
    headless["spec"]["selector"] = None
    assert ports(services=[other, headless, service(target=7002, protocol="SCTP")]) == (
        PortMap(8080, 8080, "http"),
    )


BOTH = [{"containerPort": 53, "name": "dns-tcp"}, {"containerPort": 53, "name": "dns", "protocol": "UDP"}]


def test_udp_ports_are_mapped_beside_those_of_tcp_on_the_same_number():
    made = plan(
        snapshot(containers=[app(ports=BOTH)], services=[service(target=7002, protocol="UDP")]),
        ports=[PortOverride(5353, 53, "UDP")],
    )
    assert made.ports == (
        PortMap(53, 53, "dns-tcp"),
        PortMap(53, 5353, "dns", protocol="UDP"),
        PortMap(7002, 7002, protocol="UDP"),
    )
    assert (made.config.ports, made.config.udp_ports) == ((53,), (53, 7002))


def test_one_port_may_be_given_once_for_each_protocol():
    twice = [PortOverride(1, 53, "UDP"), PortOverride(2, 53)]
    assert {port.child_port for port in plan(snapshot(containers=[app(ports=BOTH)]), ports=twice).ports} == {
        1,
        2,
    }
    with pytest.raises(BadUsage, match="53/udp"):
        plan(snapshot(containers=[app(ports=BOTH)]), ports=[twice[0], PortOverride(3, 53, "UDP")])


def test_a_port_that_exists_in_the_other_protocol_alone_is_refused_with_what_was_meant():
    only_udp = [app(ports=BOTH[1:])]
    with pytest.raises(NamedObjectMissing, match=r"no TCP port 53.*53/udp \(dns\).*-p 5353:53/udp\?"):
        plan(snapshot(containers=only_udp), ports=[PortOverride(5353, 53)])
    with pytest.raises(NamedObjectMissing, match=r"no UDP port 8080.*mean -p 8080:8080\?"):
        ports(overrides=[PortOverride(8080, 8080, "UDP")])


def test_an_unknown_port_is_refused_naming_those_there_are():
    with pytest.raises(NamedObjectMissing, match=r"no TCP port 5005.*8080 \(http\), 9090"):
        ports(overrides=[PortOverride(5005, 5005)], services=[service(target=9090)])


def test_an_override_changes_that_port_alone():
    assert ports(overrides=[PortOverride(18080, 8080)], services=[service(target=9090)]) == (
        PortMap(8080, 18080, "http"),
        PortMap(9090, 9090),
    )


def test_a_port_of_another_container_is_refused_naming_it():
    with pytest.raises(NamedObjectMissing, match=r"9000 belongs to container proxy.*deployment/orders:proxy"):
        plan(snapshot(containers=TWO), container="app", ports=[PortOverride(9000, 9000)])


def test_a_service_target_of_another_container_is_not_taken_from_it():
    assert plan(snapshot(containers=TWO, services=[service(target=9000)]), container="app").ports == (
        PortMap(8080, 8080, "http"),
    )


def test_the_same_pod_port_twice_is_bad_usage():
    with pytest.raises(BadUsage, match="8080"):
        plan(ports=[PortOverride(1, 8080), PortOverride(2, 8080)])


def test_ports_of_other_protocols_are_announced_as_not_served():
    made = plan(snapshot(containers=[app(ports=[{"containerPort": 53, "protocol": "SCTP"}])]))
    assert made.ports == ()
    assert any("SCTP port 53" in notice for notice in made.notices)


def test_the_sidecars_own_ports_are_none_of_the_pods():
    helper = {"name": "h", "ports": [{"containerPort": 29022}], "livenessProbe": {"httpGet": {"port": 29023}}}
    made = plan(snapshot(containers=[app(), helper], services=[service(target=29024)]), container="app")
    assert (made.config.tunnel_port, made.config.health_port) == (29025, 29026)


# -- no room ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        ({"hostNetwork": True}, "hostNetwork"),
        ({"containers": [app(ports=[{"containerPort": 80, "hostPort": 80}])]}, "hostPort"),
        ({"os": {"name": "windows"}}, "Windows"),
    ],
)
def test_pods_that_cannot_stand_beside_another_are_refused(spec, word):
    with pytest.raises(PreconditionFailed, match=word):
        plan(snapshot(**spec))


def claiming(*modes, replicas=2):
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    seen = snapshot(replicas, volumes=volumes)
    for number, pod in enumerate(seen.pods):
        pod["spec"]["nodeName"] = f"node{number}"
    return replace(seen, claims={"data": frozenset(modes)})


@pytest.mark.parametrize(
    ("modes", "nodes"),
    [
        (["ReadWriteOnce"], ["node0", "node1"]),
        (["ReadWriteMany"], [None, None]),
        (["ReadWriteOnce", "ReadOnlyMany"], [None, None]),
        ([], ["node0", "node1"]),
    ],
)
def test_a_volume_of_one_node_binds_each_sidecar_to_the_node_of_its_original(modes, nodes):
    assert [one.node for one in plan(claiming(*modes)).replicas] == nodes


def test_a_volume_of_one_pod_is_refused_beforehand_unless_there_is_no_pod():
    with pytest.raises(PreconditionFailed, match=r"claim data .*ReadWriteOncePod"):
        plan(claiming("ReadWriteOncePod"))
    assert plan(claiming("ReadWriteOncePod", replicas=0)).replicas[0].node is None


def test_ports_brought_from_the_pods_localhost_are_the_sidecars_and_not_its_tunnels():
    choice = LocalhostChoice(from_pod=(8080, 29022, 9000))
    config = plan(localhost=choice).config
    assert config.ports == (8080,)
    assert config.loopback_ports == (29022, 9000)
    assert not {config.tunnel_port, config.health_port} & {8080, 29022, 9000}


def test_a_helpers_port_is_not_brought_from_the_pods_localhost():
    seen = snapshot(containers=[app(), {"name": "helper", "ports": [{"containerPort": 9000}]}])
    with pytest.raises(NamedObjectMissing, match="--from-pod 9000: container helper of deployment/orders"):
        plan(seen, localhost=LocalhostChoice(from_pod=(9000,)))
