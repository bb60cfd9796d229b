"""PURE: which kinds of workload are swapped, and what to say of the others."""

from __future__ import annotations

from telepresence_py.cluster.calls import DEPLOYMENTS, REPLICASETS, REPLICATIONCONTROLLERS, Resource
from telepresence_py.model.errors import BadUsage, PreconditionFailed

SWAPPED = {one.singular: one for one in (DEPLOYMENTS, REPLICASETS, REPLICATIONCONTROLLERS)}
"""Read by themselves. Any other kind, a custom resource, is known by the ReplicaSets that it controls."""

REASONS = {
    "statefulset": "two pods cannot have the name of one of its pods, and swapping it is not supported yet",
    "daemonset": "which node's pod to replace cannot be said yet",
    "job": "a stand-in would change the job's outcome",
    "cronjob": "a stand-in would change its jobs' outcome",
    "pod": "nothing would bring a bare pod back",
}
NO_WORKLOADS = frozenset({"service", "configmap", "secret", "namespace", "node", "serviceaccount", "ingress"})


def require_swappable(kind: str, name: str) -> None:
    """PreconditionFailed says why a kind is not swapped, BadUsage what is no kind of workload."""
    if kind in NO_WORKLOADS:
        raise not_swapped(kind)
    if kind in REASONS:
        raise PreconditionFailed(
            f"{kind}/{name} cannot be swapped: {REASONS[kind]}; "
            f"`telepresence-py run --like {kind}/{name}` runs a command in a pod like its own, beside it"
        )


def not_swapped(kind: str) -> BadUsage:
    return BadUsage(
        f'"{kind}" is no kind of workload that can be swapped: name a deployment, as deployment/NAME, '
        "a replicaset, a replicationcontroller, or what controls replicasets, as rollout/NAME"
    )


def resource_of(kind: str) -> Resource | None:
    """What a workload of that kind is read from; None for a custom resource."""
    return SWAPPED.get(kind)
