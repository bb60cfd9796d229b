"""A session's cluster side against the small API server: what the tests of replicas and leftovers share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from telepresence_py.cluster.client import Cluster, open_cluster
from telepresence_py.cluster.workloads import read_workload
from telepresence_py.model.errors import one_error
from telepresence_py.model.events import Event
from telepresence_py.model.intent import ClusterChoice, SwapIntent
from telepresence_py.session.identity import SessionIdentity
from telepresence_py.session.plan import SwapPlan, plan_swap
from telepresence_py.session.replicas import Replicas, hold_replicas
from tests.fakes.cluster import (
    FakeCluster,
    deployment,
    no_plugin,
    owned_by_rollout,
    replicationcontroller,
    without_parent,
    write_kubeconfig,
)

Body = Callable[[Replicas], Awaitable[None]]


def with_orders(cluster: FakeCluster, replicas: int = 1, **spec: object) -> FakeCluster:
    for plural, thing in zip(("deployments", "replicasets"), deployment(replicas, **spec), strict=True):
        cluster.add(plural, thing)
    return cluster


def with_orders_as(cluster: FakeCluster, kind: str, replicas: int = 1) -> FakeCluster:
    """`orders` as a workload of another kind than a deployment."""
    cluster.add("serviceaccounts", {"metadata": {"name": "default"}})
    replicaset = deployment(replicas)[1]
    if kind == "replicationcontroller":
        cluster.add("replicationcontrollers", replicationcontroller(replicas))
    else:
        made = owned_by_rollout(replicaset) if kind == "rollout" else without_parent(replicaset)
        cluster.add("replicasets", made)
    return cluster


class Session:
    """Swaps `orders` as `holder`; `events` are the news of all swaps."""

    def __init__(
        self,
        tmp_path,
        cluster: FakeCluster,
        holder: str = "me@here",
        session: str = "s1",
        kind: str = "deployment",
    ) -> None:
        self.kubeconfig = write_kubeconfig(tmp_path / "config", cluster.url)
        self.intent = SwapIntent(
            cluster=ClusterChoice(self.kubeconfig),
            kind=kind,
            name="orders",
            container=None,
            ports=(),
            command=("x",),
            holder=holder,
            image="sidecar:1",
        )
        self.session = session
        self.events: list[Event] = []

    @property
    def names(self) -> list[str]:
        return [event.name for event in self.events]

    async def plan(self, cluster: Cluster) -> SwapPlan:
        seen = await read_workload(cluster, self.intent.kind, self.intent.name)
        return plan_swap(
            self.intent, seen, SessionIdentity(self.session, "ssh-ed25519 AAAA", "2026-01-01T00:00:00Z")
        )

    async def hold(self, body: Body) -> None:
        with trio.fail_after(30), one_error():
            async with (
                open_cluster(self.intent.cluster, no_plugin) as cluster,
                trio.open_nursery() as nursery,
            ):
                async with hold_replicas(
                    nursery, cluster, await self.plan(cluster), self.events.append
                ) as replicas:
                    await body(replicas)

    def run(self, body: Body) -> None:
        trio.run(self.hold, body)


async def in_place(replicas: Replicas) -> None:
    for member in replicas.members:
        await member.wait_running()
    await replicas.adopt()
    await replicas.wait_in_place()


async def until(condition: Callable[[], object]) -> None:
    """Wait for what another thread does; the caller sets the deadline."""
    while not condition():  # noqa: ASYNC110  it is the server's thread that changes it
        await trio.sleep(0.01)
