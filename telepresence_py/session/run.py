"""The story of a swap, on one page. Every step is told by its name; what a step does is in its own module."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import trio

from telepresence_py.cluster.access import require_rights
from telepresence_py.cluster.client import Cluster, open_cluster
from telepresence_py.cluster.protected import is_protected, protected_patterns
from telepresence_py.cluster.workloads import read_workload
from telepresence_py.isolation import enter
from telepresence_py.model.errors import CommandNotFound, InternalError
from telepresence_py.model.events import Event, Level, Report
from telepresence_py.model.intent import SwapIntent
from telepresence_py.model.network import Mount, NetworkView
from telepresence_py.model.records import SessionRecord
from telepresence_py.process.records import process_start, runtime_directory, write_record
from telepresence_py.session.door import Door
from telepresence_py.session.plan import SessionIdentity, SwapPlan, plan_swap
from telepresence_py.session.replicas import Replicas, hold_replicas
from telepresence_py.session.stage import Stage, announce, set_stage
from telepresence_py.session.tunnels import Tunnels, open_tunnels
from telepresence_py.tunnel.keys import SessionKey

_CHILD_STOP_SECONDS = 5.0


async def swap(door: Door) -> None:
    """Swap, run, restore. Raises TelepresenceError; whatever is raised, the cluster is restored before.

    CliGone comes through when the CLI asked for the end or went away.
    """
    intent = await door.intent()
    report = door.report
    key = SessionKey.generate()
    identity = SessionIdentity(secrets.token_hex(4), key.public_line, _now())

    async with open_cluster(intent.cluster) as cluster:
        await _confirm_protected(door, cluster)
        async with trio.open_nursery() as asking:
            asking.start_soon(_require_isolation)
            plan = await _read_and_plan(cluster, intent, identity, report)
        # until here nothing was touched
        with _recorded(plan, intent, cluster.context, identity.since):
            async with trio.open_nursery() as nursery:
                async with hold_replicas(nursery, cluster, plan, report) as replicas:
                    async with open_tunnels(nursery, replicas, key) as tunnels:
                        report(Event("connected", f"Connected to {_pods(replicas)}"))
                        announce(tunnels, report)
                        try:
                            await _stand_in(door, intent, plan, replicas, tunnels)
                        finally:
                            with trio.CancelScope(shield=True):
                                await replicas.restore(tunnels.hand_over)
                nursery.cancel_scope.cancel()


async def _require_isolation() -> None:
    """Isolate nobody for a moment: only the whole set-up tells whether this machine can."""
    async with enter(NetworkView("probe", ("192.0.2.1", "2001:db8::1")), lambda _event: None):
        pass


async def _read_and_plan(
    cluster: Cluster, intent: SwapIntent, identity: SessionIdentity, report: Report
) -> SwapPlan:
    report(Event("reading", f"Reading {intent.kind}/{intent.name} in namespace {cluster.namespace}"))
    await require_rights(cluster)
    plan = plan_swap(intent, await read_workload(cluster, intent.kind, intent.name), identity)
    require_command(intent.command, plan.mounts)
    pods = f"{len(plan.replicas)} replica{'s' if len(plan.replicas) > 1 else ''}"
    text = f"Standing in for {plan.workload}, {pods}, container {plan.container} ({plan.container_reason})"
    report(Event("planned", text))
    for notice in plan.notices:
        report(Event("notice", notice, Level.NOTICE))
    for change in plan.changes:
        report(Event("change", f"{change.do}; undone by: {change.undo}", Level.DETAIL))
    return plan


async def _stand_in(
    door: Door, intent: SwapIntent, plan: SwapPlan, replicas: Replicas, tunnels: Tunnels
) -> None:
    """Run the child on its stage, in place of the originals, until it ends."""
    async with trio.open_nursery() as nursery:
        async with set_stage(nursery, plan, intent.command, tunnels, door.report) as stage:
            nursery.start_soon(replicas.wait_lost)
            nursery.start_soon(tunnels.wait_lost)
            nursery.start_soon(_namespaces_lost, stage)
            nursery.start_soon(_take_place, intent, plan, stage, replicas, tunnels, door.report)
            try:
                await door.start_child(stage.environment, stage.namespaces)
                await door.wait_child_ended()
            finally:
                with trio.CancelScope(shield=True):
                    await door.stop_child(_CHILD_STOP_SECONDS)
                # before the stage goes: its end is news only while the child should live
                nursery.cancel_scope.cancel()


async def _take_place(
    intent: SwapIntent, plan: SwapPlan, stage: Stage, replicas: Replicas, tunnels: Tunnels, report: Report
) -> None:
    """Once the child listens (or at once), its pods report ready, are adopted, and the originals go."""
    if plan.ports and not intent.ready_now:
        ports = ", ".join(str(port.child_port) for port in plan.ports)
        report(Event("waiting-for-child", f"Waiting for the command to listen on {ports}"))
        await stage.inbound.wait_listening()
    tunnels.set_ready()
    await replicas.adopt()
    await replicas.wait_in_place()


async def _namespaces_lost(stage: Stage) -> None:
    await stage.lost.wait()
    raise InternalError("the process that holds the command's namespaces ended; swap again")


async def _confirm_protected(door: Door, cluster: Cluster) -> None:
    if is_protected(cluster.context, protected_patterns(os.environ)):
        await door.confirm(
            f"context {cluster.context} is marked protected; swap there?",
            f"context {cluster.context} is marked protected and there is no terminal to ask on; "
            "name another by --context, or take it from protected_contexts in the configuration",
        )


def require_command(command: tuple[str, ...], mounts: tuple[Mount, ...]) -> None:
    """A path that the laptop does not have may still lie in a volume of the pod, else it is refused."""
    path = command[0]
    if "/" not in path or os.path.lexists(path):
        return
    if not any(os.path.abspath(path).startswith(mount.path.rstrip("/") + "/") for mount in mounts):
        raise CommandNotFound(f"{path}: no such file here, nor in a volume of the pod; nothing was changed")


@contextmanager
def _recorded(plan: SwapPlan, intent: SwapIntent, context: str, since: str) -> Iterator[None]:
    """The record by which `list` finds this session on this machine."""
    pid = os.getpid()
    record = SessionRecord(
        session=plan.config.session,
        workload=plan.workload,
        namespace=plan.namespace,
        context=context,
        since=since,
        pid=pid,
        started=process_start(pid) or 0,
        command=intent.command,
    )
    path = write_record(runtime_directory(), record)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _pods(replicas: Replicas) -> str:
    return ", ".join(replica.pod_name for replica in replicas.members)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
