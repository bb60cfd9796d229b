"""Reading a workload and all that belongs to it into one frozen snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from telepresence_py.cluster.client import Cluster

Json = dict[str, Any]


@dataclass(frozen=True)
class WorkloadSnapshot:
    """One moment's view; the objects are the server's JSON. `pods` holds originals and sidecar pods alike."""

    context: str
    namespace: str
    deployment: Json
    replicasets: tuple[Json, ...]
    pods: tuple[Json, ...]
    services: tuple[Json, ...]


async def read_workload(cluster: Cluster, kind: str, name: str) -> WorkloadSnapshot:
    """NamedObjectMissing names the nearest spelling; PreconditionFailed for kinds that are not swapped (yet)."""
    raise NotImplementedError
