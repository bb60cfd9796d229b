"""What tests deploy: a target whose pod sees one of everything that a session must bring over, and peers."""

from __future__ import annotations

import json
from typing import Any

from integration.probe.manifests import (
    BASE_IMAGE,
    RESTRICTED,
    Object,
    Workload,
    config_map,
    probe_config_map,
    secret,
    service,
)
from integration.support.namespaces import Namespace

TARGET = "target"
MULTI_LINE = "first line\nsecond line\n\n  indented = 'quoted' \"twice\" $HOME\n"
JSON_BLOB = json.dumps({"a": [1, 2, {"b": "c d"}], "ü": "☃"}, ensure_ascii=False)
VOLUMES = {
    "/etc/target/config": "configMap",
    "/run/secrets/target": "secret",
    "/etc/target/pod": "downwardAPI",
    "/opt/target/all": "projected",
    "/var/lib/target": "emptyDir",
}
"""Where the target's volumes are, and of what kind."""
SINGLE_FILE = "/etc/target/single.conf"
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


def peers() -> list[Object]:
    """Whom a child talks to. Service `peer`: http 80, TCP echo 7000, UDP echo 7001; headless `peers`."""
    front = service("peer", 80, 8080)
    front["spec"]["ports"] += [
        {"name": "echo", "port": 7000, "targetPort": 7000},
        {"name": "datagrams", "port": 7001, "targetPort": 7001, "protocol": "UDP"},
    ]
    headless = service("peers", 8080, 8080, clusterIP="None", selector={"app": "peer"})
    peer = Workload("peer", listen=("http:8080", "echo:7000", "udp:7001"), who="peer", service=False)
    return [probe_config_map(), front, headless, *peer.objects()]


def target(name: str = TARGET, **changes: Any) -> list[Object]:
    """The workload that tests swap, and its Service; `changes` are further fields of Workload."""
    settings, credentials = f"{name}-settings", f"{name}-credentials"
    container = {
        "env": variables(credentials),
        "envFrom": [
            {"configMapRef": {"name": settings}, "prefix": "SET_"},
            {"secretRef": {"name": credentials}, "prefix": "CRED_"},
        ],
        "volumeMounts": [
            *({"name": kind.lower(), "mountPath": path} for path, kind in VOLUMES.items()),
            {"name": "configmap", "mountPath": SINGLE_FILE, "subPath": "colour"},
        ],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
    }
    pod = {
        "hostAliases": [{"ip": "10.9.8.7", "hostnames": ["alias.of.target"]}],
        "initContainers": [filling()],
        "securityContext": {"fsGroup": RESTRICTED["runAsUser"]},
        "volumes": volumes(settings, credentials),
    }
    return [
        probe_config_map(),
        config_map(settings, {"colour": "green\n", "shape.txt": "round\nand long\n"}),
        secret(credentials, {"token": "s3cret-of-the-test", "user": "tester"}),
        *Workload(name, container=container, pod=pod, **changes).objects(),
    ]


def variables(credentials: str) -> list[Object]:
    plain = {
        "PROBE_WHO": "cluster",
        "PLAIN": "a value",
        "EMPTY": "",
        "MULTI_LINE": MULTI_LINE,
        "JSON_BLOB": JSON_BLOB,
        "HOME": "/home/of-the-pod",
        "PYTHONPATH": "/of-the-pod",
    }
    fields = {"POD_NAME": "metadata.name", "POD_IP": "status.podIP", "POD_APP": "metadata.labels['app']"}
    return [
        *({"name": name, "value": value} for name, value in plain.items()),
        *({"name": n, "valueFrom": {"fieldRef": {"fieldPath": path}}} for n, path in fields.items()),
        {"name": "COMPOSED", "value": "$(PLAIN) of $(POD_APP)"},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": credentials, "key": "token"}}},
    ]


def volumes(settings: str, credentials: str) -> list[Object]:
    """One of each kind of VOLUMES, named by its kind in lower case."""
    projected = [
        {"configMap": {"name": settings, "items": [{"key": "colour", "path": "deep/down/colour"}]}},
        {"secret": {"name": credentials}},
        {"serviceAccountToken": {"path": "token-for-peer", "audience": "peer", "expirationSeconds": 3600}},
    ]
    labels = {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
    return [
        {"name": "configmap", "configMap": {"name": settings}},
        {"name": "secret", "secret": {"secretName": credentials, "defaultMode": 0o440}},
        {"name": "downwardapi", "downwardAPI": {"items": [labels]}},
        {"name": "projected", "projected": {"sources": projected}},
        {"name": "emptydir", "emptyDir": {}},
    ]


def filling() -> Object:
    """The init container that puts something into the emptyDir."""
    lines = (
        "cd /var/lib/target",
        "mkdir sub",
        "echo filled >sub/file",
        "ln -s sub/file link",
        "chmod 640 sub/file",
    )
    return {
        "name": "filling",
        "image": BASE_IMAGE,
        "command": ["sh", "-c", " && ".join(lines)],
        "volumeMounts": [{"name": "emptydir", "mountPath": "/var/lib/target"}],
        "securityContext": RESTRICTED,
    }


def settle(namespace: Namespace, *objects: Object) -> None:
    """Apply, and wait until every workload among the objects has all its pods, Ready."""
    namespace.apply(*objects)
    for thing in objects:
        kind, name = thing["kind"], thing["metadata"]["name"]
        if kind == "Deployment":
            namespace.wait_rolled_out(name)
        elif kind in ("ReplicaSet", "ReplicationController") and thing["spec"]["replicas"]:
            ready = f"--for=jsonpath={{.status.readyReplicas}}={thing['spec']['replicas']}"
            namespace.kubectl("wait", ready, f"{kind.lower()}/{name}", "--timeout=120s", seconds=130)


def pod_probe_command(namespace: Namespace, pod: str) -> list[str]:
    """A command whose stdin and stdout are those of a probe inside the pod's container."""
    asking = ("exec", "-i", pod, "--", "python3", "/probe/probe.py", "ask")
    return namespace.cluster.kubectl_command("-n", namespace.name, *asking)
