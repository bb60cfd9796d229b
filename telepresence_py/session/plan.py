"""PURE: what a swap would do, as a value; every refusal that reading alone can justify is raised here."""

from __future__ import annotations

from dataclasses import dataclass

from telepresence_py.cluster.workloads import Json, WorkloadSnapshot
from telepresence_py.model.intent import SwapIntent
from telepresence_py.model.network import Mount, PortMap
from telepresence_sidecar.contract import SidecarConfig


@dataclass(frozen=True)
class SessionIdentity:
    """Who swaps: a session id (a valid label value), the public half of its key, RFC 3339 start time in UTC."""

    session: str
    client_key: str
    since: str


@dataclass(frozen=True)
class Change:
    """One thing done to the cluster and what takes it back, for people to read."""

    do: str
    undo: str


@dataclass(frozen=True)
class ReplicaPlan:
    """One sidecar pod and the particular original that it replaces.

    `pod_name` is the lock: two sessions cannot create it both. `plain_pod` is the pod that the ReplicaSet
    itself would create.
    """

    pod_name: str
    replicaset: str
    original: str
    original_uid: str
    plain_pod: Json


@dataclass(frozen=True)
class SwapPlan:
    workload: str  # deployment/orders
    namespace: str
    deployment: str
    deployment_uid: str
    selector: str
    container: str
    container_reason: str
    ports: tuple[PortMap, ...]
    mounts: tuple[Mount, ...]
    notices: tuple[str, ...]
    image: str
    config: SidecarConfig
    since: str
    replicas: tuple[ReplicaPlan, ...]

    @property
    def changes(self) -> tuple[Change, ...]:
        """Every change in the order in which it is made."""
        raise NotImplementedError


def plan_swap(intent: SwapIntent, snapshot: WorkloadSnapshot, identity: SessionIdentity) -> SwapPlan:
    """The plan; raises NamedObjectMissing, WorkloadHeld, PreconditionFailed with what was asked in vain."""
    raise NotImplementedError
