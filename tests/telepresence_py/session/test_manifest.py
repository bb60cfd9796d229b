"""The input is what a 1.34 API server answered to a dry run, with one webhook that injects a container."""

from __future__ import annotations

import base64
import copy
import json
from dataclasses import replace

import pytest

from telepresence_py.cluster.calls import REPLICASETS
from telepresence_py.cluster.owners import PodOwner
from telepresence_py.session.manifest import (
    SidecarShape,
    lock_name,
    lost_native_sidecars,
    node_of,
    on_node,
    ordinary_containers,
    plain_pod,
    sidecar_pod,
)
from telepresence_sidecar.contract import (
    CONTAINER_ANNOTATION,
    HOLDER_ANNOTATION,
    SESSION_LABEL,
    SINCE_ANNOTATION,
    VERSION_ANNOTATION,
    WORKLOAD_ANNOTATION,
    SidecarConfig,
)
from tests.fakes.cluster import deployed, deployment

TOKEN = {
    "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
    "name": "kube-api-access-wnpnv",
    "readOnly": True,
}
NOT_READY = {"effect": "NoExecute", "operator": "Exists", "tolerationSeconds": 300}
ADMITTED = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "creationTimestamp": "2026-11-23T14:50:04Z",
        "generateName": "orders-abc-",
        "name": "orders-abc-985h4",
        "namespace": "shop",
        "uid": "3eb0d802",
        "managedFields": [{"manager": "x"}],
        "labels": {"app": "orders", "pod-template-hash": "abc", "mesh": "yes"},
        "annotations": {
            "mesh/status": "injected",
            "kubernetes.io/limit-ranger": "LimitRanger plugin set: ...",
        },
        "ownerReferences": [{"kind": "ReplicaSet", "name": "orders-abc", "uid": "r", "controller": True}],
        "finalizers": ["example/keep"],
    },
    "spec": {
        "nodeName": "node1",
        "priority": 0,
        "preemptionPolicy": "PreemptLowerPriority",
        "overhead": {"cpu": "1m"},
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {
            "runAsNonRoot": True,
            "sysctls": [{"name": "net.ipv4.tcp_syncookies", "value": "1"}],
        },
        "serviceAccount": "orders",
        "serviceAccountName": "orders",
        "terminationGracePeriodSeconds": 600,
        "topologySpreadConstraints": [{"maxSkew": 1}],
        "resourceClaims": [{"name": "card"}, {"name": "shared"}],
        "tolerations": [
            {"key": "dedicated", "operator": "Exists"},
            NOT_READY | {"key": "node.kubernetes.io/not-ready"},
            NOT_READY | {"key": "node.kubernetes.io/unreachable"},
        ],
        "volumes": [
            {"name": "settings", "configMap": {"name": "orders"}},
            {"name": "kube-api-access-wnpnv", "projected": {}},
        ],
        "initContainers": [
            {"name": "migrate", "image": "m:1", "volumeMounts": [TOKEN]},
            {"name": "logs", "image": "l:1", "restartPolicy": "Always", "volumeMounts": [TOKEN]},
        ],
        "containers": [
            {
                "name": "helper",
                "image": "h:1",
                "args": ["--serve"],
                "livenessProbe": {"tcpSocket": {"port": 9}},
                "startupProbe": {"tcpSocket": {"port": 9}},
                "resources": {"claims": [{"name": "shared"}]},
                "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"}],
                "volumeMounts": [TOKEN],
            },
            {
                "name": "app",
                "image": "shop/orders:1",
                "imagePullPolicy": "Always",
                "command": ["/orders"],
                "args": ["--port", "80"],
                "workingDir": "/srv",
                "stdin": True,
                "tty": True,
                "env": [{"name": "A", "value": "1"}],
                "envFrom": [{"secretRef": {"name": "s"}}],
                "ports": [{"containerPort": 80, "name": "http", "protocol": "TCP"}],
                "livenessProbe": {"httpGet": {"path": "/", "port": 80}},
                "readinessProbe": {"httpGet": {"path": "/", "port": 80}},
                "startupProbe": {"httpGet": {"path": "/", "port": 80}},
                "lifecycle": {"preStop": {"exec": {"command": ["sleep", "9"]}}},
                "securityContext": {"capabilities": {"drop": ["ALL"]}},
                "resources": {
                    "limits": {"memory": "8Gi", "nvidia.com/gpu": "1"},
                    "requests": {"cpu": "4", "memory": "8Gi", "nvidia.com/gpu": "1"},
                    "claims": [{"name": "card"}],
                },
                "terminationMessagePath": "/dev/termination-log",
                "volumeMounts": [{"name": "settings", "mountPath": "/etc/orders"}, TOKEN],
            },
            {"name": "proxy", "image": "p:1", "lifecycle": {}, "volumeMounts": [TOKEN]},
        ],
    },
    "status": {"phase": "Pending"},
}
CONFIG = SidecarConfig("s1", "me@here", "ssh-ed25519 AAAA", (80,), 29022, 29023)
HOLDER = deployed(*deployment()).holder
SHAPE = SidecarShape("app", "sidecar:1", CONFIG, "deployment/orders", "2026-01-01T00:00:00Z", HOLDER)


@pytest.fixture
def pod():
    return sidecar_pod(ADMITTED, "orders-abc-tp-1", SHAPE)


@pytest.fixture
def chosen(pod):
    (container,) = pod["spec"]["containers"]
    return container


def test_image_and_arguments_of_the_chosen_container_become_the_sidecars(chosen):
    assert chosen["image"] == "sidecar:1"
    assert chosen["imagePullPolicy"] == "IfNotPresent"
    assert "command" not in chosen
    assert SidecarConfig.from_argument(chosen["args"][0]) == CONFIG


def test_what_the_program_sees_of_its_pod_stays(chosen):
    original = ADMITTED["spec"]["containers"][1]
    for field in ("name", "env", "envFrom", "ports", "securityContext", "terminationMessagePath"):
        assert chosen[field] == original[field]
    assert chosen["volumeMounts"] == [{"name": "settings", "mountPath": "/etc/orders"}]


def test_what_a_breakpoint_or_a_missing_directory_would_break_goes(chosen):
    for field in ("livenessProbe", "startupProbe", "lifecycle", "workingDir", "stdin", "tty"):
        assert field not in chosen


def test_readiness_is_asked_of_the_sidecars_own_port_every_second(chosen):
    probe = chosen["readinessProbe"]
    assert probe["httpGet"]["port"] == CONFIG.health_port
    assert probe["periodSeconds"] == 1
    assert probe["failureThreshold"] >= 10


def test_the_sidecar_asks_for_little_and_for_no_device(pod, chosen):
    assert chosen["resources"] == {"requests": {"cpu": "10m", "memory": "64Mi"}}
    assert pod["spec"]["resourceClaims"] == [{"name": "shared"}]


def test_where_little_is_not_admitted_it_asks_for_the_originals_resources_without_devices():
    pod = sidecar_pod(ADMITTED, "n", SHAPE, own_resources=True)
    assert pod["spec"]["containers"][0]["resources"] == {
        "limits": {"memory": "8Gi"},
        "requests": {"cpu": "4", "memory": "8Gi"},
    }


def test_all_other_containers_end_with_the_sidecar(pod):
    names = [container["name"] for container in pod["spec"]["initContainers"]]
    assert names == ["migrate", "logs", "helper", "proxy"]
    by_name = {container["name"]: container for container in pod["spec"]["initContainers"]}
    assert "restartPolicy" not in by_name["migrate"]
    assert [by_name[name]["restartPolicy"] for name in ("logs", "helper", "proxy")] == ["Always"] * 3
    assert ordinary_containers(pod) == ("app",)


def test_helpers_keep_their_liveness_probe_and_lose_what_would_delay_or_be_refused(pod):
    helper = next(c for c in pod["spec"]["initContainers"] if c["name"] == "helper")
    assert helper["args"] == ["--serve"]
    assert helper["livenessProbe"]
    assert "startupProbe" not in helper
    assert "resizePolicy" not in helper


def test_what_admission_adds_again_is_taken_away(pod):
    for field in ("nodeName", "priority", "preemptionPolicy", "overhead", "serviceAccount"):
        assert field not in pod["spec"]
    assert pod["spec"]["serviceAccountName"] == "orders"
    assert pod["spec"]["volumes"] == [{"name": "settings", "configMap": {"name": "orders"}}]
    assert pod["spec"]["tolerations"] == [{"key": "dedicated", "operator": "Exists"}]
    assert "kube-api-access" not in repr(pod)
    assert "kubernetes.io/limit-ranger" not in pod["metadata"]["annotations"]


def test_the_pod_is_new_to_the_server_and_keeps_every_label_and_the_webhooks_marks(pod):
    meta = pod["metadata"]
    assert set(meta) == {"name", "labels", "annotations", "ownerReferences"}
    assert meta["name"] == "orders-abc-tp-1"
    assert meta["labels"] == ADMITTED["metadata"]["labels"] | {SESSION_LABEL: "s1"}
    assert meta["annotations"]["mesh/status"] == "injected"
    assert "status" not in pod


def test_the_pod_tells_who_holds_what_since_when(pod):
    annotations = pod["metadata"]["annotations"]
    assert annotations[HOLDER_ANNOTATION] == "me@here"
    assert annotations[SINCE_ANNOTATION] == "2026-01-01T00:00:00Z"
    assert annotations[WORKLOAD_ANNOTATION] == "deployment/orders"
    assert annotations[CONTAINER_ANNOTATION] == "app"
    assert annotations[VERSION_ANNOTATION]


def test_the_pod_is_held_by_the_deployment_and_is_the_last_to_be_removed(pod):
    (owner,) = pod["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("Deployment", "orders", True)
    assert "blockOwnerDeletion" not in owner
    assert pod["metadata"]["annotations"]["controller.kubernetes.io/pod-deletion-cost"] == "2147483647"


def test_the_pod_ends_for_good_with_the_sidecar_and_has_time_to_hand_over(pod):
    assert pod["spec"]["restartPolicy"] == "Never"
    assert CONFIG.drain_seconds < pod["spec"]["terminationGracePeriodSeconds"] <= 30
    assert "topologySpreadConstraints" not in pod["spec"]


def test_ports_below_1024_are_opened_by_a_safe_sysctl_beside_the_pods_own(pod):
    sysctls = pod["spec"]["securityContext"]["sysctls"]
    assert {"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"} in sysctls
    assert {"name": "net.ipv4.tcp_syncookies", "value": "1"} in sysctls
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True


def test_without_low_ports_the_pods_security_context_is_left_alone():
    high = SidecarShape(
        "app", "i", SidecarConfig("s", "h", "k", (8080,), 1, 2), "deployment/orders", "now", HOLDER
    )
    assert sidecar_pod(ADMITTED, "n", high)["spec"]["securityContext"] == ADMITTED["spec"]["securityContext"]


def test_ports_below_1024_of_the_pods_loopback_are_opened_too():
    config = replace(SidecarConfig("s", "h", "k", (8080,), 1, 2), loopback_ports=(80,))
    low = SidecarShape("app", "i", config, "deployment/orders", "now", HOLDER)
    sysctls = sidecar_pod(ADMITTED, "n", low)["spec"]["securityContext"]["sysctls"]
    assert {"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"} in sysctls


def test_udp_ports_below_1024_are_opened_too():
    config = replace(SidecarConfig("s", "h", "k", (8080,), 1, 2), udp_ports=(53,))
    low = SidecarShape("app", "i", config, "deployment/orders", "now", HOLDER)
    sysctls = sidecar_pod(ADMITTED, "n", low)["spec"]["securityContext"]["sysctls"]
    assert {"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"} in sysctls


def test_a_sidecar_that_knows_no_loopback_or_udp_ports_is_told_of_none():
    def told(config):
        return json.loads(base64.urlsafe_b64decode(config.to_argument()))

    assert not {"loopback_ports", "udp_ports"} & told(CONFIG).keys()
    config = replace(CONFIG, loopback_ports=(9000, 9001), udp_ports=(53,))
    assert told(config)["loopback_ports"] == [9000, 9001]
    assert told(config)["udp_ports"] == [53]
    assert SidecarConfig.from_argument(config.to_argument()) == config


def test_the_input_is_not_changed():
    before = copy.deepcopy(ADMITTED)
    sidecar_pod(ADMITTED, "n", SHAPE)
    assert before == ADMITTED


def test_a_pod_of_one_container_gets_no_empty_lists():
    pod = sidecar_pod(plain_pod(PodOwner(REPLICASETS, deployment()[1])), "n", SHAPE)
    assert not {"initContainers", "volumes", "tolerations"} & set(pod["spec"])


def test_the_plain_pod_is_the_one_that_the_replicaset_would_create():
    pod = plain_pod(PodOwner(REPLICASETS, deployment()[1]))
    assert pod["metadata"]["generateName"] == "orders-abc-"
    assert pod["metadata"]["labels"] == {"app": "orders", "pod-template-hash": "abc"}
    assert pod["metadata"]["ownerReferences"][0]["uid"] == "uid-replicaset"


def test_the_lock_is_the_replicasets_name_with_a_number_and_stays_a_host_name():
    assert lock_name("orders-abc", 2) == "orders-abc-tp-2"
    long = lock_name("x" * 80 + "-abc", 12)
    assert len(long) == 63
    assert long.endswith("-tp-12")
    assert lock_name("x" * 80 + "-abd", 12) != long


def test_a_server_that_drops_the_restart_policy_of_init_containers_is_noticed(pod):
    old = copy.deepcopy(pod)
    for container in old["spec"]["initContainers"]:
        container.pop("restartPolicy", None)
    assert lost_native_sidecars(pod, old)
    assert not lost_native_sidecars(pod, pod)


TERM = {"matchExpressions": [{"key": "disk", "operator": "Exists"}]}
NODE = {"key": "metadata.name", "operator": "In", "values": ["node2"]}


@pytest.mark.parametrize(
    ("terms", "bound"),
    [
        (None, [{"matchFields": [NODE]}]),
        ([TERM, {}], [TERM | {"matchFields": [NODE]}, {"matchFields": [NODE]}]),
    ],
)
def test_a_pod_is_bound_to_a_node_beside_what_its_template_asks_for(terms, bound):
    key = "requiredDuringSchedulingIgnoredDuringExecution"
    affinity = {"podAffinity": {}}
    if terms is not None:
        affinity["nodeAffinity"] = {key: {"nodeSelectorTerms": terms}}
    pod = {"metadata": {"name": "n"}, "spec": {"affinity": affinity}}
    made = on_node(pod, "node2")
    assert made["spec"]["affinity"]["nodeAffinity"][key]["nodeSelectorTerms"] == bound
    assert "podAffinity" in made["spec"]["affinity"]
    assert node_of(made) == "node2"
    assert node_of({"spec": {}}) is None
