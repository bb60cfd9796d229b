"""PURE: what a pod's JSON says of its state, in the words that decisions and sentences need."""

from __future__ import annotations

from dataclasses import dataclass

from telepresence_py.cluster.calls import Json
from telepresence_sidecar.contract import (
    CONTAINER_ANNOTATION,
    HOLDER_ANNOTATION,
    SESSION_LABEL,
    SINCE_ANNOTATION,
    WORKLOAD_ANNOTATION,
)

IMAGE_REASONS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError"}
)
CONTAINER_REASONS = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})


TAKEN_ANNOTATION = "telepresence-py/taken-away"
"""On pods of a living session whose workload somebody gives back all the same: it shall not make others."""


@dataclass(frozen=True)
class Holder:
    who: str  # user@host
    since: str
    workload: str
    container: str
    session: str


def is_sidecar(pod: Json) -> bool:
    """Whether a session of ours made the pod."""
    return SESSION_LABEL in (pod["metadata"].get("labels") or {})


def is_taken_away(pod: Json) -> bool:
    return TAKEN_ANNOTATION in (pod["metadata"].get("annotations") or {})


def holder_of(pod: Json) -> Holder:
    """What a sidecar pod tells of its session; "unknown" for what somebody has taken from it."""
    annotations = pod["metadata"].get("annotations") or {}
    return Holder(
        who=annotations.get(HOLDER_ANNOTATION, "unknown"),
        since=annotations.get(SINCE_ANNOTATION, "unknown"),
        workload=annotations.get(WORKLOAD_ANNOTATION, "unknown"),
        container=annotations.get(CONTAINER_ANNOTATION, ""),
        session=(pod["metadata"].get("labels") or {}).get(SESSION_LABEL, ""),
    )


def is_finished(pod: Json) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def is_original(pod: Json) -> bool:
    """Whether it is none of ours, and neither finished nor on its way out."""
    return not (is_sidecar(pod) or is_finished(pod) or pod["metadata"].get("deletionTimestamp"))


def is_ready(pod: Json) -> bool:
    """Ready and not on its way out."""
    if pod["metadata"].get("deletionTimestamp"):
        return False
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in (pod.get("status") or {}).get("conditions") or ()
    )


def containers_ready(pod: Json) -> bool:
    """Whether nothing but readiness gates keeps the pod from being Ready."""
    return any(
        condition["type"] == "ContainersReady" and condition["status"] == "True"
        for condition in (pod.get("status") or {}).get("conditions") or ()
    )


def is_running(pod: Json, container: str) -> bool:
    """Whether the container runs now (its readiness aside)."""
    return any(
        status["name"] == container and "running" in (status.get("state") or {})
        for status in (pod.get("status") or {}).get("containerStatuses") or ()
    )


def addresses(pod: Json) -> tuple[str, ...]:
    """The pod's addresses, primary family first."""
    status = pod.get("status") or {}
    listed = tuple(entry["ip"] for entry in status.get("podIPs") or () if entry.get("ip"))
    return listed or ((status["podIP"],) if status.get("podIP") else ())


@dataclass(frozen=True)
class Waiting:
    """A container that cannot start. `message` is the kubelet's, on one line."""

    container: str
    image: str
    reason: str
    message: str

    @property
    def for_image(self) -> bool:
        return self.reason in IMAGE_REASONS


def waiting_in_vain(pod: Json) -> Waiting | None:
    """The first container that waits for what does not come by waiting: an image, a Secret, a command."""
    status = pod.get("status") or {}
    for entry in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        state = (entry.get("state") or {}).get("waiting") or {}
        if state.get("reason") in IMAGE_REASONS | CONTAINER_REASONS:
            message = " ".join(str(state.get("message", "")).split())
            return Waiting(entry["name"], entry.get("image", ""), state["reason"], message)
    return None


def unschedulable(pod: Json) -> str | None:
    """The scheduler's reason for finding no node, on one line."""
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return " ".join(str(condition.get("message", "")).split())
    return None


def missing_gates(pod: Json) -> tuple[str, ...]:
    """Readiness gates whose condition nobody has set yet."""
    done = {c["type"] for c in (pod.get("status") or {}).get("conditions") or () if c["status"] == "True"}
    gates = (gate["conditionType"] for gate in pod["spec"].get("readinessGates") or ())
    return tuple(gate for gate in gates if gate not in done)


def trouble(pod: Json) -> str:
    """In a few words, why the pod is not Ready."""
    status = pod.get("status") or {}
    reason = unschedulable(pod)
    if reason is not None:
        return f"not scheduled: {reason}"
    for entry in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        state = entry.get("state") or {}
        for kind in ("waiting", "terminated"):
            if state.get(kind, {}).get("reason") not in (
                None,
                "Completed",
                "PodInitializing",
                "ContainerCreating",
            ):
                return f"container {entry['name']} {state[kind]['reason']}"
    if containers_ready(pod) and (gates := missing_gates(pod)):
        return f"nobody sets its readiness gate {gates[0]}"
    return status.get("reason") or (
        "not Ready" if status.get("phase") == "Running" else status.get("phase", "new")
    )
