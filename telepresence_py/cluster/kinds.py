"""PURE: which kinds of workload are swapped, and what to say of the others."""

from __future__ import annotations

from telepresence_py.model.errors import BadUsage, PreconditionFailed

REASONS = {
    "statefulset": "two pods cannot have the name of one of its pods, and swapping it is not supported yet",
    "daemonset": "which node's pod to replace cannot be said yet",
    "replicaset": "swapping it by itself is not supported yet: name the deployment that owns it",
    "replicationcontroller": "swapping it is not supported yet: make it a deployment",
    "job": "a stand-in would change the job's outcome: run the program beside it instead",
    "cronjob": "a stand-in would change its jobs' outcome: run the program beside it instead",
    "pod": "nothing would bring a bare pod back: name the deployment that owns it, or make one",
}


def require_swappable(kind: str, name: str) -> None:
    """PreconditionFailed says why another kind than a deployment is not swapped, BadUsage what is no kind."""
    if kind == "deployment":
        return
    if kind not in REASONS:
        raise BadUsage(
            f'"{kind}" is no kind of workload that can be swapped: name a deployment, as deployment/NAME'
        )
    raise PreconditionFailed(f"{kind}/{name} cannot be swapped: {REASONS[kind]}")
