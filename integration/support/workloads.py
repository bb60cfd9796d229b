"""Objects as they would stand in a manifest: the probe as a deployment with a Service, and its parts.

Every pod is one that Pod Security `restricted` lets in.
"""

from __future__ import annotations

from typing import Any

from integration.probe.asking import PYTHON_PROBE

BASE_IMAGE = "docker.io/library/python:3.11-slim"
"""Python and little else; in the project's own cluster it is on every node."""

PROBE_MOUNT = "/probe"

RESTRICTED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
"""A container's security context."""


def pod_spec(*containers: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A pod's spec that needs no privilege; `more` are further fields of it."""
    return {
        "containers": [{"securityContext": RESTRICTED, **container} for container in containers],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": 5,
        **more,
    }


def probe_container(name: str, who: str, port: int = 8080, **more: Any) -> dict[str, Any]:
    """The Python probe serving HTTP on `port`, whose answers say `who`; needs `probe_volume`.

    `more` are further fields of the container, in place of those here.
    """
    container = {
        "name": name,
        "image": BASE_IMAGE,
        "command": ["python3", f"{PROBE_MOUNT}/probe.py", "serve", f"http:{port}"],
        "env": [{"name": "PROBE_WHO", "value": who}],
        "ports": [{"name": "http", "containerPort": port}],
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1, "failureThreshold": 1},
        "volumeMounts": [{"name": "probe", "mountPath": PROBE_MOUNT}],
    }
    return container | more


def probe_config_map() -> dict[str, Any]:
    """The probe's program, for pods that have `probe_volume`."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "probe"},
        "data": {"probe.py": PYTHON_PROBE.read_text()},
    }


def probe_volume() -> dict[str, Any]:
    return {"name": "probe", "configMap": {"name": "probe"}}


def deployment(name: str, spec: dict[str, Any], replicas: int = 1, **more: Any) -> dict[str, Any]:
    """A deployment of pods of that spec, labelled `app: NAME`; `more` are further fields of its spec."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": spec},
            **more,
        },
    }


def service(name: str, port: int = 80, target_port: int | str = 8080, **more: Any) -> dict[str, Any]:
    """A Service for the pods `app: NAME`, with both address families where the cluster has them."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "ipFamilyPolicy": "PreferDualStack",
            "selector": {"app": name},
            "ports": [{"name": "http", "port": port, "targetPort": target_port}],
            **more,
        },
    }


def probe_workload(name: str, who: str = "original", replicas: int = 1) -> list[dict[str, Any]]:
    """A deployment of probes, the Service before it and the ConfigMap that it needs."""
    spec = pod_spec(probe_container(name, who), volumes=[probe_volume()])
    return [probe_config_map(), deployment(name, spec, replicas), service(name)]
