"""The child's life on its stage, whatever it was set for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NoReturn

import trio

from telepresence_py.cluster.calls import Json
from telepresence_py.forward.publishing import TakenPorts
from telepresence_py.model.errors import InternalError
from telepresence_py.model.events import Report
from telepresence_py.model.intent import Intent
from telepresence_py.model.network import PortMap
from telepresence_py.session.bringing import below_alone
from telepresence_py.session.door import Door
from telepresence_py.session.podspec import helper_ports, mounts_of
from telepresence_py.session.stage import Scene, Stage, set_stage
from telepresence_py.session.tunnels import Tunnels
from telepresence_py.volumes.brought import Brought

_CHILD_STOP_SECONDS = 5.0

Beside = Callable[[Stage], Awaitable[None]]
"""What goes on beside the child; an error of it ends the child."""


def scene_of(
    intent: Intent,
    ports: tuple[PortMap, ...],
    taken_ports: TakenPorts,
    spec: Json,
    container: str,
    brought: tuple[Brought, ...] = (),
) -> Scene:
    """The scene in the place of that container of a pod, as the pod has it: admission adds to the template's
    mounts and helpers."""
    return Scene(
        intent.command,
        ports,
        mounts_of(spec, container),
        intent.environment,
        helper_ports(spec, container, ports),
        intent.rules,
        intent.localhost,
        taken_ports,
        intent.fast_connect,
        intent.method,
        intent.volumes,
        intent.prefix,
        brought,
        below_alone(intent.files, intent),
        intent.container_image,
    )


async def report_ready(stage: Stage, tunnels: Tunnels, at_once: bool, report: Report) -> None:
    """Have every pod report ready, also those to come, once the child listens; returns when the first may."""
    if at_once:
        tunnels.ready_when(trio.lowlevel.checkpoint)
    else:
        tunnels.ready_when(stage.inbound.wait_listening)
        await stage.wait_listening(report)


async def run_child(door: Door, scene: Scene, tunnels: Tunnels, *beside: Beside) -> None:
    """Run the child on its stage until it ends, with `beside` and a watch over all that it needs.

    The child is ended, and the stage gone, however this is left.
    """
    async with trio.open_nursery() as nursery:
        async with set_stage(nursery, scene, tunnels, door.report) as stage:
            nursery.start_soon(tunnels.wait_lost)
            nursery.start_soon(_namespaces_lost, stage)
            for one in beside:
                nursery.start_soon(one, stage)
            try:
                await door.start_child(stage.environment, stage.namespaces, stage.container)
                await door.wait_child_ended()
            finally:
                with trio.CancelScope(shield=True):
                    await door.stop_child(_CHILD_STOP_SECONDS)
                # before the stage goes: its end is news only while the child should live
                nursery.cancel_scope.cancel()


async def _namespaces_lost(stage: Stage) -> NoReturn:
    await stage.lost.wait()
    raise InternalError("the process that holds the command's namespaces ended; start again")
