"""PURE: what a run would do, as a value: a pod of its own, like a workload's or plain, and its Service."""

from __future__ import annotations

import re
from copy import deepcopy
from dataclasses import dataclass

from telepresence_py.cluster.calls import Json
from telepresence_py.cluster.templates import ModelSnapshot, Template
from telepresence_py.model.errors import PreconditionFailed
from telepresence_py.model.image import DEFAULT_IMAGE
from telepresence_py.model.intent import Model, RunIntent
from telepresence_py.model.network import PortMap
from telepresence_py.model.preview import Change
from telepresence_py.session.claims import beside_others
from telepresence_py.session.identity import SessionIdentity, sidecar_config
from telepresence_py.session.manifest import SidecarShape, on_node
from telepresence_py.session.plan import removal_of_finished, selects
from telepresence_py.session.pod_loopback import require_loopback_ports
from telepresence_py.session.podspec import choose_container, expose_ports, unserved
from telepresence_py.session.podstate import is_sidecar
from telepresence_py.volumes.brought import Brought
from telepresence_sidecar.contract import HOLDER_ANNOTATION, SESSION_LABEL, SINCE_ANNOTATION

OWN_WORKLOAD = "run/"
"""What stands before a run's name where the name of a swap's workload would: run/api."""

PLAIN_CONTAINER = "sidecar"
RESTRICTED: Json = {
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""What Pod Security `restricted` asks of a container."""

# what holds for the workload's own pods: how they are spread, how long they may live, who must agree to them
_OF_A_WORKLOAD = ("activeDeadlineSeconds", "schedulingGates", "readinessGates", "topologySpreadConstraints")
# written on a pod while it lives
_OF_A_LIVING_POD = re.compile(
    r"kubectl\.kubernetes\.io/last-applied-configuration|cni\..*|.*\.cni\.cncf\.io/.*"
)


@dataclass(frozen=True)
class RunPlan:
    """`pod` is what the model itself would create, labels included, or a plain pod without a model.

    `name` is the pod's and the Service's, and the lock. `notices` are for the user, one line each;
    `brought` is what was read of the model's own files. `left` are finished pods of dead sessions.
    """

    name: str
    model: str  # job/migrate, or empty
    container_reason: str
    pod: Json
    is_template: bool
    ports: tuple[PortMap, ...]
    notices: tuple[str, ...]
    shape: SidecarShape
    brought: tuple[Brought, ...] = ()
    left: tuple[str, ...] = ()

    @property
    def workload(self) -> str:
        return self.shape.workload

    @property
    def session(self) -> str:
        return self.shape.config.session

    @property
    def changes(self) -> tuple[Change, ...]:
        """Every change in the order in which it is made; nothing else in the cluster is written."""
        pod = Change(f"create pod {self.name}", f"delete pod {self.name}")
        service = Change(f"create service {self.name}", f"it goes with pod {self.name}, which owns it")
        removed = [removal_of_finished(name) for name in self.left]
        return (*removed, pod, service) if self.ports else (*removed, pod)


def plan_run(intent: RunIntent, model: ModelSnapshot | None, identity: SessionIdentity) -> RunPlan:
    """The plan; NamedObjectMissing, BadUsage, PreconditionFailed tell what is amiss."""
    name = intent.name or default_name(intent.holder, identity.session)
    image = intent.image or DEFAULT_IMAGE
    made = _plain(image) if intent.model is None or model is None else _made_like(intent.model, model)
    pod, container = made.pod, made.container
    if intent.service_account is not None:
        pod["spec"]["serviceAccountName"] = intent.service_account
    ports = expose_ports(pod["spec"], container, intent.exposed, made.source)
    require_loopback_ports(intent.localhost, pod["spec"], container, ports, made.source or name)
    config = sidecar_config(intent, identity, ports, [pod["spec"]])
    return RunPlan(
        name=name,
        model=made.source,
        container_reason=made.reason,
        pod=pod,
        is_template=model is not None and not model.template.is_pod,
        ports=ports,
        notices=made.notices,
        shape=SidecarShape(container, image, config, OWN_WORKLOAD + name, identity.since, None),
    )


def default_name(holder: str, session: str) -> str:
    """A DNS label (RFC 1035) from who runs it, so that others see whose it is, and which session."""
    user = re.sub(r"[^a-z0-9]+", "-", holder.partition("@")[0].lower()).strip("-")[:40].rstrip("-")
    return f"run-{user}-{session}" if user else f"run-{session}"


def of_no_workload(pod: Json) -> Json:
    """The pod without what would make it one of its model's: neither Services nor controllers, disruption
    budgets or network policies that select by labels take it for theirs."""
    annotations = {
        key: value
        for key, value in (pod["metadata"].get("annotations") or {}).items()
        if not _OF_A_LIVING_POD.fullmatch(key)
    }
    spec = {key: value for key, value in deepcopy(pod["spec"]).items() if key not in _OF_A_WORKLOAD}
    if "affinity" in spec:
        spec["affinity"].pop("podAntiAffinity", None)
    for container in (*(spec.get("initContainers") or ()), *spec["containers"]):
        for port in container.get("ports") or ():
            port.pop("hostPort", None)
    return pod | {"metadata": {"annotations": annotations}, "spec": spec}


def service_of(plan: RunPlan, pod_uid: str) -> Json:
    """The Service of the run's ports; the garbage collector removes it with the pod that owns it."""
    config = plan.shape.config
    owner = {"apiVersion": "v1", "kind": "Pod", "name": plan.name, "uid": pod_uid}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": plan.name,
            "labels": {SESSION_LABEL: config.session},
            "annotations": {HOLDER_ANNOTATION: config.holder, SINCE_ANNOTATION: plan.shape.since},
            "ownerReferences": [owner],
        },
        "spec": {
            "selector": {SESSION_LABEL: config.session},
            "ipFamilyPolicy": "PreferDualStack",
            "ports": [
                {
                    "name": f"{port.protocol.lower()}-{port.pod_port}",
                    "port": port.pod_port,
                    "targetPort": port.pod_port,
                    "protocol": port.protocol,
                }
                for port in plan.ports
            ],
        },
    }


def objects_of(plan: RunPlan, pod: Json) -> tuple[Json, ...]:
    """What a run creates, that pod first; which uid the Service's owner will have nobody knows yet."""
    return (pod, service_of(plan, "(that of the pod)")) if plan.ports else (pod,)


@dataclass(frozen=True)
class _Made:
    """What a pod is made from; of its containers the sidecar stands in for `container`."""

    source: str
    pod: Json
    container: str
    reason: str = ""
    notices: tuple[str, ...] = ()


def _plain(image: str) -> _Made:
    container = {"name": PLAIN_CONTAINER, "image": image, "securityContext": RESTRICTED}
    return _Made("", _pod("run-", {}, {"containers": [container]}), PLAIN_CONTAINER)


def _made_like(asked: Model, model: ModelSnapshot) -> _Made:
    source, template = model.template.source, model.template.json
    _require_runnable(model.template)
    services = [one for one in model.services if selects(one, template)]
    choice = choose_container(template, services, asked.container, source)
    node, notices = beside_others(source, model.claims, model.pods)
    pod = _pod(f"{asked.name[:50]}-", template["metadata"], deepcopy(template["spec"]))
    if node is not None:
        pod = on_node(pod, node)
    return _Made(source, pod, choice.name, choice.reason, (*notices, *unserved(template, choice.name)))


def _pod(generate_name: str, metadata: Json, spec: Json) -> Json:
    kept = {key: dict(metadata.get(key) or {}) for key in ("labels", "annotations")}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": generate_name, **kept},
        "spec": spec,
    }


def _require_runnable(template: Template) -> None:
    spec = template.json["spec"]
    if is_sidecar(template.json):
        raise PreconditionFailed(f"{template.source} is a session's own pod: name the workload that it is of")
    if (spec.get("os") or {}).get("name") == "windows":
        raise PreconditionFailed(f"{template.source} runs on Windows nodes: only Linux pods can be imitated")
    if spec.get("hostNetwork"):
        raise PreconditionFailed(
            f"{template.source} uses its node's network (hostNetwork), where a second pod cannot have "
            "the same ports: run a plain pod, without --like"
        )
