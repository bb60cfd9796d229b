"""PURE: the sidecar's pod, made from the pod that the server would have admitted for the workload itself.

The input is the answer to a dry run, so what admission adds is in it: containers that a webhook injects above
all. What admission adds again by itself, and what holds for one particular pod, is taken away first.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from hashlib import sha256

from telepresence_py.cluster.calls import Json
from telepresence_py.cluster.owners import PodOwner
from telepresence_sidecar.contract import (
    CONTAINER_ANNOTATION,
    HOLDER_ANNOTATION,
    PROBE_PATIENCE_SECONDS,
    SESSION_LABEL,
    SINCE_ANNOTATION,
    VERSION_ANNOTATION,
    WORKLOAD_ANNOTATION,
    SidecarConfig,
    __version__,
)

RESTORE_ANNOTATION = "telepresence-py/restore-by"
"""What to type to have the workload back, for whoever finds the pod by `kubectl describe`."""

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
UNPRIVILEGED_PORTS = "net.ipv4.ip_unprivileged_port_start"
SMALL_REQUESTS = {"cpu": "10m", "memory": "64Mi"}
ORDINARY_RESOURCES = ("cpu", "memory", "ephemeral-storage")
# written by admission anew on every pod; a stale copy is refused or misleads
ADMISSION_FIELDS = (
    "nodeName",
    "priority",
    "preemptionPolicy",
    "overhead",
    "serviceAccount",
    "ephemeralContainers",
)
ADMISSION_ANNOTATIONS = ("kubernetes.io/limit-ranger", "kubernetes.io/psp")
TOKEN_VOLUME = "kube-api-access-"
DEFAULT_TOLERATIONS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
END_SECONDS = 5  # for helpers, beyond what the sidecar may take to hand over its connections
# a breakpoint must not kill the pod, and the sidecar knows nothing of the program's directory or terminal
PROGRAM_FIELDS = (
    "command",
    "workingDir",
    "stdin",
    "stdinOnce",
    "tty",
    "lifecycle",
    "livenessProbe",
    "startupProbe",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
)


@dataclass(frozen=True)
class SidecarShape:
    """What is the same for all sidecar pods of a session. `holder` is the reference that holds them back from
    the controllers of their workload; None for a pod that is of no workload."""

    container: str
    image: str
    config: SidecarConfig
    workload: str
    since: str
    holder: Json | None


def plain_pod(owner: PodOwner) -> Json:
    """The pod that the owner itself would create."""
    template = owner.template
    metadata = {
        "generateName": f"{owner.name}-",
        "labels": dict(template["metadata"].get("labels") or {}),
        "annotations": dict(template["metadata"].get("annotations") or {}),
        "ownerReferences": [owner.reference],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": deepcopy(template["spec"])}


def restore_command(workload: str) -> str:
    """By which anybody with the rights for it ends a session, living or dead, in the pod's namespace."""
    return f"telepresence-py restore {workload} --force"


def lock_name(owner: str, number: int) -> str:
    """`<owner>-tp-<number>`, a valid host name: longer ones are cut and told apart by a digest."""
    end = f"-tp-{number}"
    if len(owner) + len(end) <= 63:
        return owner + end
    digest = sha256(owner.encode()).hexdigest()[:8]
    return f"{owner[: 63 - len(end) - 9].rstrip('-.')}-{digest}{end}"


def sidecar_pod(pod: Json, name: str, shape: SidecarShape, own_resources: bool = False) -> Json:
    """The pod to create instead of `pod` (admitted, or as in the template).

    `own_resources` gives the sidecar what the replaced container asks for, devices excepted, where a
    LimitRange or a quota does not admit the small requests.
    """
    spec = _without_admission(pod["spec"])
    containers = {container["name"]: container for container in spec["containers"]}
    chosen = containers.pop(shape.container)
    spec["initContainers"] = [*(spec.get("initContainers") or ()), *map(_native_sidecar, containers.values())]
    if not spec["initContainers"]:
        del spec["initContainers"]
    spec["containers"] = [_sidecar_container(chosen, shape, own_resources)]
    if not own_resources:
        spec.pop("resources", None)
    _drop_unused_claims(spec)
    spec["restartPolicy"] = "Never"
    spec["terminationGracePeriodSeconds"] = int(shape.config.drain_seconds) + END_SECONDS
    # one more pod for a moment must not be held up by how the originals are spread
    spec.pop("topologySpreadConstraints", None)
    config = shape.config
    if any(port < 1024 for port in (*config.ports, *config.loopback_ports, *config.udp_ports)):
        _open_low_ports(spec)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": _metadata(pod, name, shape), "spec": spec}


def on_node(pod: Json, node: str) -> Json:
    """The same pod, for that node alone. Selector terms are alternatives, so each of them is narrowed."""
    affinity = dict(pod["spec"].get("affinity") or {})
    nodes = dict(affinity.get("nodeAffinity") or {})
    required = nodes.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    alternatives: list[Json] = required.get("nodeSelectorTerms") or [{}]
    terms = [term | {"matchFields": [*(term.get("matchFields") or ()), field]} for term in alternatives]
    nodes["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": terms}
    return pod | {"spec": pod["spec"] | {"affinity": affinity | {"nodeAffinity": nodes}}}


def node_of(pod: Json) -> str | None:
    """The inverse: the one node to which `on_node` bound the pod, else None."""
    nodes = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = nodes.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    fields = [term.get("matchFields") for term in required.get("nodeSelectorTerms") or ()]
    return str(fields[0][-1]["values"][0]) if fields and fields[0] else None


def ordinary_containers(pod: Json) -> tuple[str, ...]:
    """Names of the containers on whose end the pod waits."""
    return tuple(container["name"] for container in pod["spec"]["containers"])


def lost_native_sidecars(wanted: Json, admitted: Json) -> bool:
    """Whether the server does not know `restartPolicy: Always` of init containers (older than 1.29)."""

    def always(pod: Json) -> set[str]:
        return {
            c["name"] for c in pod["spec"].get("initContainers") or () if c.get("restartPolicy") == "Always"
        }

    return not always(wanted) <= always(admitted)


def _metadata(pod: Json, name: str, shape: SidecarShape) -> Json:
    annotations = dict(pod["metadata"].get("annotations") or {})
    for key in ADMISSION_ANNOTATIONS:
        annotations.pop(key, None)
    annotations |= {
        HOLDER_ANNOTATION: shape.config.holder,
        SINCE_ANNOTATION: shape.since,
        WORKLOAD_ANNOTATION: shape.workload,
        CONTAINER_ANNOTATION: shape.container,
        VERSION_ANNOTATION: __version__,
    }
    labels = dict(pod["metadata"].get("labels") or {}) | {SESSION_LABEL: shape.config.session}
    metadata = {"name": name, "labels": labels, "annotations": annotations}
    annotations[RESTORE_ANNOTATION] = restore_command(shape.workload)
    if shape.holder is None:
        return metadata
    annotations[DELETION_COST] = "2147483647"
    return metadata | {"ownerReferences": [shape.holder]}


def _sidecar_container(chosen: Json, shape: SidecarShape, own_resources: bool) -> Json:
    container = {key: value for key, value in chosen.items() if key not in PROGRAM_FIELDS}
    return container | {
        "image": shape.image,
        "imagePullPolicy": "IfNotPresent",
        "args": [shape.config.to_argument()],
        "resources": _without_devices(chosen.get("resources") or {})
        if own_resources
        else {"requests": SMALL_REQUESTS},
        "readinessProbe": {
            "httpGet": {"path": "/", "port": shape.config.health_port, "scheme": "HTTP"},
            "periodSeconds": 1,
            "timeoutSeconds": int(PROBE_PATIENCE_SECONDS) + 2,
            # a busy link must not take the workload's only pod out of its Service
            "failureThreshold": 30,
        },
    }


def _native_sidecar(container: Json) -> Json:
    """Ends when the sidecar does, is restarted when it crashes (KEP-753). Startup probes would delay us."""
    dropped = ("startupProbe", "resizePolicy", "restartPolicyRules")
    kept = {key: value for key, value in container.items() if key not in dropped}
    return kept | {"restartPolicy": "Always"}


def _without_devices(resources: Json) -> Json:
    return {
        kind: {
            name: amount for name, amount in (resources.get(kind) or {}).items() if name in ORDINARY_RESOURCES
        }
        for kind in ("requests", "limits")
        if resources.get(kind)
    }


def _without_admission(spec: Json) -> Json:
    spec = {key: value for key, value in deepcopy(spec).items() if key not in ADMISSION_FIELDS}
    spec["volumes"] = [v for v in spec.get("volumes") or () if not v["name"].startswith(TOKEN_VOLUME)]
    for container in (*(spec.get("initContainers") or ()), *spec["containers"]):
        mounts = container.get("volumeMounts") or ()
        container["volumeMounts"] = [mount for mount in mounts if not mount["name"].startswith(TOKEN_VOLUME)]
    spec["tolerations"] = [one for one in spec.get("tolerations") or () if not _is_default_toleration(one)]
    for emptied in (spec, *(spec.get("initContainers") or ()), *spec["containers"]):
        for key in ("volumes", "volumeMounts", "tolerations"):
            if not emptied.get(key, True):
                del emptied[key]
    return spec


def _is_default_toleration(toleration: Json) -> bool:
    return toleration.get("key") in DEFAULT_TOLERATIONS and toleration.get("tolerationSeconds") == 300


def _drop_unused_claims(spec: Json) -> None:
    """A device that only the replaced container used is not asked for (dynamic resource allocation)."""
    used = {
        claim["name"]
        for container in (*(spec.get("initContainers") or ()), *spec["containers"])
        for claim in (container.get("resources") or {}).get("claims") or ()
    }
    claims = [claim for claim in spec.pop("resourceClaims", None) or () if claim["name"] in used]
    if claims:
        spec["resourceClaims"] = claims


def _open_low_ports(spec: Json) -> None:
    """Ports below 1024 without a capability: a safe sysctl, allowed under Pod Security `restricted`."""
    context = dict(spec.get("securityContext") or {})
    others = [sysctl for sysctl in context.get("sysctls") or () if sysctl["name"] != UNPRIVILEGED_PORTS]
    spec["securityContext"] = context | {"sysctls": [*others, {"name": UNPRIVILEGED_PORTS, "value": "0"}]}
