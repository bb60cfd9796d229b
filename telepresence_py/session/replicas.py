"""The sidecar pods of a swap: created held, adopted when Ready, released and removed, whatever happens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NoReturn

import trio

from telepresence_py.cluster.client import Cluster
from telepresence_py.model.events import Report
from telepresence_py.model.network import WebSocketTarget
from telepresence_py.session.plan import ReplicaPlan, SwapPlan


class Replica:
    """One sidecar pod of ours."""

    plan: ReplicaPlan
    pod_name: str
    gone: trio.Event  # the pod has finished, was deleted or is being deleted by somebody else
    gone_reason: str

    async def wait_running(self) -> str:
        """The sidecar's host key fingerprint (`SHA256:...`) once its container runs.

        PreconditionFailed within seconds when the image cannot be had, the pod cannot be scheduled, ...
        """
        raise NotImplementedError

    def dial(self) -> WebSocketTarget:
        """Where to open the port-forward to the sidecar's tunnel port; fresh credentials at each call."""
        raise NotImplementedError


OnOriginalReady = Callable[[Replica, tuple[str, ...]], Awaitable[None]]
"""Called while this sidecar still serves: the addresses of the restored original that takes over."""


class Replicas:
    members: tuple[Replica, ...]

    async def adopt(self) -> None:
        """Give the pods to their ReplicaSets once they are Ready (`Tunnel.set_ready(True)` comes before)."""
        raise NotImplementedError

    async def wait_in_place(self) -> None:
        """Return when the originals are gone; until then they compute on in their grace period."""
        raise NotImplementedError

    async def wait_lost(self) -> NoReturn:
        """SessionLost when the workload is deleted or the last sidecar pod was taken."""
        raise NotImplementedError

    async def restore(self, on_original_ready: OnOriginalReady | None = None) -> None:
        """Originals back and Ready, sidecar pods gone. Idempotent; bounded; runs shielded."""
        raise NotImplementedError


@asynccontextmanager
async def hold_replicas(
    nursery: trio.Nursery, cluster: Cluster, plan: SwapPlan, report: Report
) -> AsyncIterator[Replicas]:
    """Rehearse on the server, then create the sidecar pods, held back from adoption.

    Leaving the block, however, restores what `restore()` has not: shielded, with a deadline. Watching runs in
    `nursery`, which the caller opened. WorkloadHeld names the holder.
    """
    raise NotImplementedError
    yield
