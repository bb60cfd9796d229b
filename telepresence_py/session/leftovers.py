"""What sessions left in a namespace, and putting it back; also from another machine than theirs."""

from __future__ import annotations

from dataclasses import dataclass

from telepresence_py.cluster.client import Cluster
from telepresence_py.model.events import Report


@dataclass(frozen=True)
class Leftover:
    """One sidecar pod. `state`: "live" a session is connected, "dead" it waits for one, "finished" it has ended."""

    pod_name: str
    uid: str
    session: str
    workload: str
    holder: str
    since: str
    state: str


async def list_leftovers(cluster: Cluster) -> tuple[Leftover, ...]:
    """All sidecar pods of the cluster's chosen namespace."""
    raise NotImplementedError


async def restore_leftovers(
    cluster: Cluster, report: Report, workload: str | None = None, force: bool = False
) -> tuple[Leftover, ...]:
    """Put back the originals of `workload` (deployment/orders; None: of all) and remove the pods; what was removed.

    WorkloadHeld when a live session is among them and `force` is not given; nothing is touched then.
    """
    raise NotImplementedError
