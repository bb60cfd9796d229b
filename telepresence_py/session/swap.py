"""The story of a swap, on one page. Every step is told by its name; what a step does is in its own module."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import trio

from telepresence_py.cluster.access import require_rights, swap_rights
from telepresence_py.cluster.client import Cluster, open_cluster
from telepresence_py.cluster.workloads import read_workload
from telepresence_py.forward.publishing import TakenPorts, taken_ports
from telepresence_py.model.events import Event, Level, Report
from telepresence_py.model.intent import SwapIntent
from telepresence_py.session.bringing import Source, bring
from telepresence_py.session.child_life import report_ready, run_child, scene_of
from telepresence_py.session.courtesy import Courtesy
from telepresence_py.session.door import Door
from telepresence_py.session.environment_files import require_environment_files
from telepresence_py.session.foretelling import foretell
from telepresence_py.session.identity import SessionIdentity, new_identity
from telepresence_py.session.image import image_for
from telepresence_py.session.plan import SwapPlan, plan_swap
from telepresence_py.session.plugins import plugin_runner
from telepresence_py.session.prefix import require_prefix
from telepresence_py.session.preflight import confirm_protected, require_beside, require_isolation
from telepresence_py.session.recording import recorded
from telepresence_py.session.rehearsal import rehearse
from telepresence_py.session.replicas import Replicas, hold_replicas
from telepresence_py.session.stage import Stage, announce
from telepresence_py.session.tunnels import Tunnels, open_tunnels
from telepresence_py.session.visitors import receive_visitors
from telepresence_py.session.volume_wishes import require_volumes, wishes_of
from telepresence_py.tunnel.keys import SessionKey


async def swap(door: Door, intent: SwapIntent) -> None:
    """Swap, run, restore. Raises TelepresenceError; whatever is raised, the cluster is restored before.

    CliGone comes through when the CLI asked for the end or went away.
    """
    require_environment_files(intent.environment)
    report = door.report
    key = SessionKey.generate()
    identity = new_identity(key.public_line)

    async with open_cluster(intent.cluster, plugin_runner(door)) as cluster:
        if not intent.dry_run:
            await confirm_protected(door, cluster, "swap")
        intent = replace(intent, image=image_for(intent.image, cluster.context, report))
        async with trio.open_nursery() as asking:
            asking.start_soon(require_isolation, intent, report)
            plan = await _read_and_plan(cluster, intent, identity, report)
        # until here nothing was touched
        if intent.dry_run:
            manifests = await rehearse(cluster, plan)
            foretell(door, cluster, intent, plan, manifests.values())
            return
        with (
            taken_ports(intent.localhost.published) as taken,
            recorded(identity, cluster, plan.workload, intent.whole_command) as record,
        ):
            async with trio.open_nursery() as nursery:
                async with hold_replicas(nursery, cluster, plan, report) as replicas:
                    async with open_tunnels(
                        nursery, replicas.members, key, intent.grace_seconds, report
                    ) as tunnels:
                        report(Event("connected", f"Connected to {_pods(replicas)}"))
                        nursery.start_soon(receive_visitors, record, tunnels)
                        announce(tunnels, report)
                        courtesy = Courtesy(cluster, plan)
                        nursery.start_soon(courtesy.tell_swapped, replicas.placed)
                        try:
                            await _stand_in(door, intent, plan, taken, replicas, tunnels)
                        finally:
                            with trio.CancelScope(shield=True):
                                if await replicas.restore(tunnels.hand_over):
                                    await courtesy.tell_restored()
                nursery.cancel_scope.cancel()


async def _read_and_plan(
    cluster: Cluster, intent: SwapIntent, identity: SessionIdentity, report: Report
) -> SwapPlan:
    report(Event("reading", f"Reading {intent.kind}/{intent.name} in namespace {cluster.namespace}"))
    await require_rights(cluster, swap_rights(intent.kind, bool(intent.files)))
    plan = plan_swap(intent, await read_workload(cluster, intent.kind, intent.name), identity)
    require_volumes(wishes_of(intent), plan.mounts, plan.workload)
    require_prefix(intent.prefix, intent.method, plan.mounts)
    require_beside(intent.method, intent.laptop_command, plan.mounts, plan.ports)
    source = Source(plan.workload, plan.replicas[0].original, plan.container, plan.mounts)
    plan = replace(plan, brought=await bring(cluster, source, intent, report))
    pods = f"{plan.replaces} replica{'' if plan.replaces == 1 else 's'}"
    text = f"Standing in for {plan.workload}, {pods}, container {plan.container} ({plan.container_reason})"
    report(Event("planned", text))
    for notice in plan.notices:
        report(Event("notice", notice, Level.NOTICE))
    for change in plan.changes:
        report(Event("change", f"{change.do}; undone by: {change.undo}", Level.DETAIL))
    return plan


async def _stand_in(
    door: Door, intent: SwapIntent, plan: SwapPlan, taken: TakenPorts, replicas: Replicas, tunnels: Tunnels
) -> None:
    """Run the child on its stage, in place of the originals, until it ends."""

    async def follow(_stage: Stage) -> None:
        tunnels.followed, tunnels.ends_with_link = True, intent.on_lost == "exit"
        await replicas.follow(tunnels)

    pod = replicas.members[0].pod
    spec = plan.replicas[0].plain_pod["spec"] if pod is None else pod["spec"]
    scene = scene_of(intent, plan.ports, taken, spec, plan.container, plan.brought)
    in_place = partial(_take_place, intent, plan, replicas, tunnels, door.report)
    await run_child(door, scene, tunnels, follow, in_place)


async def _take_place(
    intent: SwapIntent, plan: SwapPlan, replicas: Replicas, tunnels: Tunnels, report: Report, stage: Stage
) -> None:
    """Once the child listens (or at once), its pods report ready, are adopted, and the originals go."""
    await report_ready(stage, tunnels, intent.ready_now, report)
    await replicas.adopt()
    await replicas.wait_in_place()


def _pods(replicas: Replicas) -> str:
    return ", ".join(replica.pod_name for replica in replicas.members)
