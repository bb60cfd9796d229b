"""Putting a workload back: the originals first, then the sidecar pods go; the undo of all a swap does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import trio

from telepresence_py.cluster.calls import Json
from telepresence_py.cluster.client import Cluster
from telepresence_py.cluster.owners import Workload
from telepresence_py.cluster.pods import delete_pod, list_pods, set_owners
from telepresence_py.cluster.workloads import find_workload
from telepresence_py.model.errors import ClusterUnreachable
from telepresence_py.model.events import Event, Level, Report
from telepresence_py.session.gates import tell_gates
from telepresence_py.session.manifest import node_of
from telepresence_py.session.podboard import PodBoard
from telepresence_py.session.podstate import (
    addresses,
    is_finished,
    is_original,
    is_ready,
    is_sidecar,
    trouble,
    unschedulable,
    waiting_in_vain,
)
from telepresence_sidecar.contract import SESSION_LABEL

T = TypeVar("T")
ORIGINAL_SECONDS = 150.0
VAIN_SECONDS = 20.0  # an image may come at the second try; a volume that another node has does not
HAND_OVER_SECONDS = 10.0
GONE_SECONDS = 45.0  # a sidecar pod's grace period is at most 30 s
AGAIN_SECONDS = 1.0
SHORT_GRACE_SECONDS = 5


@dataclass(frozen=True)
class StandIn:
    """A sidecar pod as a restore sees it. `adopted` may be True where it is not known.

    `alone` is one that is held back and yet serves without an original, so that one is waited for.
    """

    pod_name: str
    uid: str
    adopted: bool
    alone: bool = False


OnReplaced = Callable[[StandIn, tuple[str, ...]], Awaitable[None]]
"""Called while the sidecar still serves, with the addresses of the restored original that takes over."""


class Restorer:
    """Restores one workload (deployment/orders). `uid` tells it from another of the same name."""

    def __init__(self, cluster: Cluster, workload: str, uid: str, board: PodBoard, report: Report) -> None:
        self._cluster = cluster
        self._workload = workload
        self._uid = uid
        self._board = board
        self._report = report
        self._session = ""

    async def restore(
        self, session: str, stand_ins: Sequence[StandIn], on_replaced: OnReplaced | None = None
    ) -> None:
        """Bring the originals back, then remove every pod of the session. May be called again.

        Waits for an API server that is away until the caller's deadline. Originals that do not become Ready
        in time are reported, and the sidecars go all the same: nobody serves behind them any more.
        """
        self._session = session
        serving = [one for one in stand_ins if (one.adopted or one.alone) and self._lives(one)]
        if serving:
            self._report(Event("restoring", f"Restoring {self._workload}"))
            found = await self._insist(partial(find_workload, self._cluster, self._workload, self._uid))
            if found is not None:
                await self._bring_back(serving, found, on_replaced)
        await self._remove(session)

    async def _bring_back(
        self, serving: list[StandIn], workload: Workload, on_replaced: OnReplaced | None
    ) -> None:
        async with trio.open_nursery() as nursery:
            for one in serving:
                release = partial(set_owners, self._cluster, one.pod_name, one.uid, [workload.holder])
                if one.adopted:
                    nursery.start_soon(self._insist, release)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell_gates, self._board, partial(_is_one_of, workload), self._report)
            await self._replace(serving[: workload.replicas], workload, on_replaced)
            nursery.cancel_scope.cancel()

    async def _replace(
        self, serving: list[StandIn], workload: Workload, on_replaced: OnReplaced | None
    ) -> None:
        """Each sidecar goes when another original is Ready; the caller removes those that wait in vain."""
        taken: set[str] = set()
        with trio.move_on_after(ORIGINAL_SECONDS) as patience:
            for one in serving:
                original = await self._await_original(workload, taken)
                if not is_ready(original):
                    # it may be the sidecar itself that takes its room or its volume: waiting would never end
                    self._report(Event("original-in-vain", self._waiting_for(workload), Level.WARNING))
                    return
                taken.add(original["metadata"]["uid"])
                await self._hand_over(one, addresses(original), on_replaced)
                await self._insist(partial(delete_pod, self._cluster, one.pod_name, one.uid))
        if patience.cancelled_caught:
            self._report(Event("original-not-ready", self._waiting_for(workload), Level.WARNING))

    async def _await_original(self, workload: Workload, taken: set[str]) -> Json:
        wait = partial(self._board.wait, partial(self._next_original, workload, taken))
        found = None
        with trio.move_on_after(VAIN_SECONDS):
            found = await wait()
        return found or self._in_vain(workload) or await wait()

    def _in_vain(self, workload: Workload) -> Json | None:
        """An original that lacks an image or the like, or is on a node that cannot have the volume while our
        sidecars have it on theirs."""
        nodes = {node_of(pod) for pod in self._board.pods.values() if is_sidecar(pod)} - {None}
        for pod in self._originals(workload):
            if waiting_in_vain(pod) is not None:
                return pod
            node = pod["spec"].get("nodeName")
            if nodes and node is not None and node not in nodes and not is_ready(pod):
                return pod
        return None

    async def _hand_over(
        self, one: StandIn, pod_addresses: tuple[str, ...], on_replaced: OnReplaced | None
    ) -> None:
        if on_replaced is None:
            return
        with trio.move_on_after(HAND_OVER_SECONDS) as patience:
            await on_replaced(one, pod_addresses)
        if patience.cancelled_caught:
            self._report(
                Event("hand-over-late", f"{one.pod_name} did not hand over its connections", Level.DETAIL)
            )

    async def _remove(self, session: str) -> None:
        """By label, so that a pod whose creation we never heard of goes as well."""
        selector = f"{SESSION_LABEL}={session}"
        for pod in (await self._insist(partial(list_pods, self._cluster, selector))).items:
            name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
            self._board.note(pod)
            if not pod["metadata"].get("deletionTimestamp"):
                # what is not Ready has nothing to hand over, and may be too young to have asked for SIGTERM
                grace = None if is_ready(pod) else SHORT_GRACE_SECONDS
                await self._insist(partial(delete_pod, self._cluster, name, uid, grace))
        with trio.move_on_after(GONE_SECONDS):
            await self._board.wait(lambda: None if self._remaining(session) else True)
        for name in self._remaining(session):
            self._report(Event("pod-remains", f"The pod {name} is still ending", Level.WARNING))

    def _remaining(self, session: str) -> list[str]:
        return [
            pod["metadata"]["name"]
            for pod in self._board.pods.values()
            if (pod["metadata"].get("labels") or {}).get(SESSION_LABEL) == session
        ]

    def _lives(self, one: StandIn) -> bool:
        pod = self._board.pods.get(one.uid)
        return pod is not None and not is_finished(pod) and not pod["metadata"].get("deletionTimestamp")

    def _originals(self, workload: Workload) -> list[Json]:
        return [pod for pod in self._board.pods.values() if _is_one_of(workload, pod)]

    def _of_rival(self, workload: Workload, pod: Json) -> bool:
        """Whether another session's sidecar has the place of an original: then none comes."""
        session = (pod["metadata"].get("labels") or {}).get(SESSION_LABEL)
        is_ending = "deletionTimestamp" in pod["metadata"]
        return session not in (None, self._session) and not is_ending and workload.has(pod)

    def _next_original(self, workload: Workload, taken: set[str]) -> Json | None:
        """A Ready original that no sidecar was paired with, or what stands in for it in another session; else
        one that no node has room for; else None."""
        rivals = [pod for pod in self._board.pods.values() if self._of_rival(workload, pod)]
        found = [*self._originals(workload), *rivals]
        others = [pod for pod in found if pod["metadata"]["uid"] not in taken]
        for pod in others:
            if is_ready(pod):
                return pod
        return next((pod for pod in others if unschedulable(pod) is not None), None)

    def _waiting_for(self, workload: Workload) -> str:
        late = [
            f"{pod['metadata']['name']}: {trouble(pod)}"
            for pod in self._originals(workload)
            if not is_ready(pod)
        ]
        return f"The originals of {self._workload} are not Ready again yet" + (
            f" ({'; '.join(late)})" if late else ""
        )

    async def _insist(self, request: Callable[[], Awaitable[T]]) -> T:
        """Again and again while the API server is away; the caller's deadline ends it."""
        told = False
        while True:
            try:
                return await request()
            except ClusterUnreachable as error:
                if not told:
                    self._report(Event("restore-waits", f"Restoring waits: {error}", Level.WARNING))
                told = True
                await trio.sleep(AGAIN_SECONDS)


def _is_one_of(workload: Workload, pod: Json) -> bool:
    return is_original(pod) and workload.has(pod)
