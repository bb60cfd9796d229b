"""Objects as plain dictionaries: the probe as a workload, Services, ConfigMaps, Secrets.

Every pod runs probe.py from a ConfigMap on the stock Python image, so that no image has to be built for
tests, and is one that Pod Security `restricted` lets pass.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from integration.probe.asking import FLOW, LOAD, PYTHON_PROBE

Object = dict[str, Any]

BASE_IMAGE = "docker.io/library/python:3.11-slim"
RESTRICTED: Object = {
    "runAsNonRoot": True,
    "runAsUser": 10001,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""A container's security context that Pod Security `restricted` lets pass."""
PROBE_VOLUME: Object = {"name": "probe", "configMap": {"name": "probe"}}


@dataclass(frozen=True)
class Workload:
    """A Deployment that runs the probe, and the Service of its name that sends port 80 to 8080.

    `pod` and `container` are laid over the pod's and the container's spec, `siblings` are further containers;
    `listen` are LISTEN words of probe.py, `who` is what its answers say. With `service` False there is none.
    """

    name: str
    replicas: int = 1
    listen: tuple[str, ...] = ("http:8080",)
    ports: tuple[Object, ...] = ({"name": "http", "containerPort": 8080},)
    who: str = "cluster"
    pod: Object = field(default_factory=dict)
    container: Object = field(default_factory=dict)
    siblings: tuple[Object, ...] = ()
    service: bool = True
    annotations: dict[str, str] = field(default_factory=dict)

    def objects(self) -> list[Object]:
        return [self.deployment(), *self.services()]

    def services(self) -> list[Object]:
        return [service(self.name, 80, 8080)] if self.service else []

    def deployment(self) -> Object:
        return self._made_by("apps/v1", "Deployment", {"matchLabels": {"app": self.name}})

    def replicaset(self) -> Object:
        """A ReplicaSet without a parent, instead of the Deployment."""
        return self._made_by("apps/v1", "ReplicaSet", {"matchLabels": {"app": self.name}})

    def replicationcontroller(self) -> Object:
        return self._made_by("v1", "ReplicationController", {"app": self.name})

    def replicaset_of(self, owner: Object, generation: str) -> Object:
        """As the controller of a custom resource makes it; `owner` is that resource as the server has it."""
        made = self._made_by("apps/v1", "ReplicaSet", {"matchLabels": {"app": self.name}})
        spec, name, meta = made["spec"], f"{self.name}-{generation}", owner["metadata"]
        for labels in (spec["selector"]["matchLabels"], spec["template"]["metadata"]["labels"]):
            labels["rollouts-pod-template-hash"] = generation
        reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": meta["name"]}
        references = [reference | {"uid": meta["uid"], "controller": True, "blockOwnerDeletion": True}]
        return made | {"metadata": made["metadata"] | {"name": name, "ownerReferences": references}}

    def _made_by(self, api_version: str, kind: str, selector: Object) -> Object:
        labels = {"app": self.name}
        spec = {
            "terminationGracePeriodSeconds": 5,
            **self.pod,
            "containers": [self.main_container(), *self.siblings],
            "volumes": [*self.pod.get("volumes", []), PROBE_VOLUME],
        }
        template = {"metadata": {"labels": dict(labels), "annotations": self.annotations}, "spec": spec}
        return {
            "apiVersion": api_version,
            "kind": kind,
            "metadata": {"name": self.name, "labels": labels},
            "spec": {"replicas": self.replicas, "selector": selector, "template": template},
        }

    def main_container(self) -> Object:
        container: Object = {
            "name": "main",
            "image": BASE_IMAGE,
            "imagePullPolicy": "IfNotPresent",
            "command": ["python3", "/probe/probe.py", "serve", *self.listen],
            "env": [{"name": "PROBE_WHO", "value": self.who}],
            "ports": list(self.ports),
            "securityContext": RESTRICTED,
            **self.container,
        }
        if "http:8080" in self.listen:
            ready = {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1, "failureThreshold": 1}
            # on a busy machine an answer may take more than the usual second, and is none the worse
            container.setdefault("readinessProbe", ready | {"timeoutSeconds": 10})
        mount = {"name": PROBE_VOLUME["name"], "mountPath": "/probe"}
        return container | {"volumeMounts": [*container.get("volumeMounts", []), mount]}


def probe_config_map() -> Object:
    return config_map("probe", {path.name: path.read_text() for path in (PYTHON_PROBE, LOAD, FLOW)})


def config_map(name: str, data: dict[str, str]) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def secret(name: str, data: dict[str, str]) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}


def service(name: str, port: int, target_port: int | str, **spec: Any) -> Object:
    """A Service for the pods `app: NAME`, dual-stack where the cluster is; `spec` is laid over its spec."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "ipFamilyPolicy": "PreferDualStack",
            "selector": {"app": name},
            "ports": [{"name": f"tcp-{port}", "port": port, "targetPort": target_port}],
            **spec,
        },
    }
