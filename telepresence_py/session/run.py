"""The story of a run, on one page: a pod of its own, and the command in it. No workload is touched."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import trio

from telepresence_py.cluster.access import require_rights, run_rights
from telepresence_py.cluster.client import Cluster, open_cluster
from telepresence_py.cluster.templates import read_model, require_service_account
from telepresence_py.forward.publishing import TakenPorts, taken_ports
from telepresence_py.model.events import Event, Level, Report
from telepresence_py.model.intent import RunIntent
from telepresence_py.model.network import port_word
from telepresence_py.session.bringing import Source, bring, pod_of
from telepresence_py.session.child_life import report_ready, run_child, scene_of
from telepresence_py.session.door import Door
from telepresence_py.session.environment_files import require_environment_files
from telepresence_py.session.foretelling import foretell
from telepresence_py.session.identity import SessionIdentity, new_identity
from telepresence_py.session.image import image_for
from telepresence_py.session.own_pod import (
    OwnPod,
    finished_pods,
    hold_own_pod,
    rehearse_own_pod,
    require_free_name,
)
from telepresence_py.session.plugins import plugin_runner
from telepresence_py.session.podspec import mounts_of
from telepresence_py.session.prefix import require_prefix
from telepresence_py.session.preflight import confirm_protected, require_beside, require_isolation
from telepresence_py.session.recording import recorded
from telepresence_py.session.rehearsal import Admission
from telepresence_py.session.run_plan import RunPlan, objects_of, plan_run
from telepresence_py.session.stage import Stage, announce
from telepresence_py.session.tunnels import Tunnels, open_tunnels
from telepresence_py.session.visitors import receive_visitors
from telepresence_py.session.volume_wishes import require_volumes, wishes_of
from telepresence_py.tunnel.keys import SessionKey


async def run(door: Door, intent: RunIntent) -> None:
    """Make a pod, run the command in it, remove the pod. Raises TelepresenceError; the pod is gone by then.

    CliGone comes through when the CLI asked for the end or went away.
    """
    require_environment_files(intent.environment)
    report = door.report
    key = SessionKey.generate()
    identity = new_identity(key.public_line)

    async with open_cluster(intent.cluster, plugin_runner(door)) as cluster:
        if not intent.dry_run:
            await confirm_protected(door, cluster, "run")
        intent = replace(intent, image=image_for(intent.image, cluster.context, report))
        async with trio.open_nursery() as asking:
            asking.start_soon(require_isolation, intent, report)
            plan, admission = await _read_and_plan(cluster, intent, identity, report)
        # until here nothing was touched
        if intent.dry_run:
            plan = replace(plan, left=tuple(pod["metadata"]["name"] for pod in await finished_pods(cluster)))
            foretell(door, cluster, intent, plan, objects_of(plan, admission.form(plan.name)))
            return
        with (
            taken_ports(intent.localhost.published) as taken,
            recorded(identity, cluster, plan.workload, intent.whole_command) as record,
        ):
            async with trio.open_nursery() as nursery:
                async with hold_own_pod(nursery, cluster, plan, admission, report) as pod:
                    async with open_tunnels(
                        nursery, (pod.sidecar,), key, intent.grace_seconds, report
                    ) as tunnels:
                        report(Event("connected", f"Connected to {plan.name}"))
                        nursery.start_soon(receive_visitors, record, tunnels)
                        announce(tunnels, report)
                        await _live_in(door, intent, plan, taken, pod, tunnels)
                nursery.cancel_scope.cancel()


async def _read_and_plan(
    cluster: Cluster, intent: RunIntent, identity: SessionIdentity, report: Report
) -> tuple[RunPlan, Admission]:
    model = intent.model
    if model is not None:
        report(Event("reading", f"Reading {model.kind}/{model.name} in namespace {cluster.namespace}"))
    kind = None if model is None else model.kind
    await require_rights(cluster, run_rights(kind, bool(intent.exposed), bool(intent.files)))
    if intent.service_account is not None:
        await require_service_account(cluster, intent.service_account)
    snapshot = None if model is None else await read_model(cluster, model.kind, model.name)
    plan = plan_run(intent, snapshot, identity)
    await require_free_name(cluster, plan)
    admission = await rehearse_own_pod(cluster, plan)
    mounts = mounts_of(admission.pod["spec"], plan.shape.container)
    require_volumes(wishes_of(intent), mounts, plan.model or plan.workload)
    require_prefix(intent.prefix, intent.method, mounts)
    require_beside(intent.method, intent.laptop_command, mounts, plan.ports)
    if snapshot is not None:
        pod = await pod_of(cluster, snapshot.template, plan.shape.container) if intent.files else None
        source = Source(plan.model, pod, plan.shape.container, mounts)
        plan = replace(plan, brought=await bring(cluster, source, intent, report))
    like = f", like {plan.model}, container {plan.shape.container} ({plan.container_reason})" if model else ""
    report(
        Event("planned", f"Running in a pod of its own, {plan.name} in namespace {cluster.namespace}{like}")
    )
    for notice in plan.notices:
        report(Event("notice", notice, Level.NOTICE))
    for change in plan.changes:
        report(Event("change", f"{change.do}; undone by: {change.undo}", Level.DETAIL))
    return plan, admission


async def _live_in(
    door: Door, intent: RunIntent, plan: RunPlan, taken: TakenPorts, pod: OwnPod, tunnels: Tunnels
) -> None:
    """Run the child on its stage, as the pod's program, until it ends."""

    async def lost(_stage: Stage) -> None:
        await pod.wait_lost()

    scene = scene_of(intent, plan.ports, taken, pod.json["spec"], plan.shape.container, plan.brought)
    await run_child(door, scene, tunnels, lost, partial(_serve, intent, plan, pod, tunnels, door.report))


async def _serve(
    intent: RunIntent, plan: RunPlan, pod: OwnPod, tunnels: Tunnels, report: Report, stage: Stage
) -> None:
    """Once the child listens (or at once), the pod reports ready, so that its Service sends there."""
    await report_ready(stage, tunnels, intent.ready_now, report)
    await pod.sidecar.wait_ready()
    if plan.ports:
        addresses = ", ".join(f"{plan.name}:{port_word(port.pod_port, port.protocol)}" for port in plan.ports)
        report(Event("in-place", f"In place: what is sent to {addresses} arrives in the local process"))
