"""One object of every kind that a pod can be made like, all of one pod template."""

from __future__ import annotations

from integration.probe.manifests import Object, Workload, config_map, probe_config_map, secret, service

COLOUR_FILE = "/etc/model/colour"
KINDS = (
    "deployment",
    "statefulset",
    "daemonset",
    "replicaset",
    "replicationcontroller",
    "job",
    "cronjob",
    "pod",
)


def models(name: str = "model") -> list[Object]:
    """Objects NAME of all KINDS, a Service that selects the pods of the deployment, and what they need.

    The job is over at once, the cron job never begins, only deployment and daemon set have pods that run.
    """
    app = {"app": f"{name}-other"}
    deployment = Workload(name, container=_container(name), pod=_pod(name)).deployment()
    template = {**deployment["spec"]["template"], "metadata": {"labels": app}}
    once = {**template, "spec": {**_only_once(template["spec"]), "restartPolicy": "Never"}}
    apps, core, batch = ("apps/v1", "v1", "batch/v1")
    job = {"template": once, "backoffLimit": 0}
    parts: list[tuple[str, str, Object]] = [
        (apps, "StatefulSet", {"replicas": 0, "serviceName": name, "selector": {"matchLabels": app}}),
        (apps, "ReplicaSet", {"replicas": 0, "selector": {"matchLabels": app}}),
        (core, "ReplicationController", {"replicas": 0, "selector": app}),
    ]
    return [
        probe_config_map(),
        config_map(f"{name}-settings", {"colour": "green"}),
        secret(f"{name}-credentials", {"token": "s3cret"}),
        deployment,
        service(name, 80, 8080),
        *(_object(version, kind, name, {**spec, "template": template}) for version, kind, spec in parts),
        _object(apps, "DaemonSet", name, {"selector": {"matchLabels": app}, "template": template}),
        _object(batch, "Job", name, job),
        _object(batch, "CronJob", name, {"schedule": "0 0 30 2 *", "jobTemplate": {"spec": job}}),
        {**_object(core, "Pod", name, once["spec"]), "metadata": {"name": name}},
    ]


def _object(version: str, kind: str, name: str, spec: Object) -> Object:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}


def _container(name: str) -> Object:
    return {
        "env": [
            {"name": "PROBE_WHO", "value": "cluster"},
            {"name": "PLAIN", "value": "a value"},
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": f"{name}-credentials", "key": "token"}}},
        ],
        "envFrom": [{"configMapRef": {"name": f"{name}-settings"}, "prefix": "SET_"}],
        "volumeMounts": [{"name": "settings", "mountPath": "/etc/model"}],
    }


def _pod(name: str) -> Object:
    return {"volumes": [{"name": "settings", "configMap": {"name": f"{name}-settings"}}]}


def _only_once(spec: Object) -> Object:
    (container,) = spec["containers"]
    kept = {key: value for key, value in container.items() if key != "readinessProbe"}
    return {**spec, "containers": [{**kept, "command": ["true"]}]}
