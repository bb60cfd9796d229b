"""`list` and `restore`: what sessions are doing on this machine, and what they left in the cluster."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict

import click
import trio

from telepresence_py.cli.common import whose
from telepresence_py.cli.preview import show_preview
from telepresence_py.cli.render import Screen
from telepresence_py.cli.tables import table
from telepresence_py.cluster.client import open_cluster
from telepresence_py.model.errors import PreconditionFailed, TelepresenceError
from telepresence_py.model.events import Event, Report
from telepresence_py.model.intent import ClusterChoice
from telepresence_py.model.preview import Preview
from telepresence_py.model.records import SessionRecord
from telepresence_py.process.plugin import run_plugin_here
from telepresence_py.process.records import live_sessions, runtime_directory
from telepresence_py.session.leftovers import (
    Leftover,
    changes_of,
    find_to_restore,
    list_leftovers,
    restore_leftovers,
)
from telepresence_py.settings import read_settings

_SESSION_COLUMNS = ("SESSION", "WORKLOAD", "NAMESPACE", "CONTEXT", "SINCE", "PID", "COMMAND")
_POD_COLUMNS = ("POD", "WORKLOAD", "STATE", "HOLDER", "SINCE", "SESSION")


def show_sessions(choice: ClusterChoice, as_json: bool) -> None:
    """Print both lists on stdout; when the cluster cannot be asked, the sessions alone, and raise why."""
    sessions = live_sessions(runtime_directory())
    pods: tuple[Leftover, ...] | None = None
    refused: TelepresenceError | None = None
    try:
        namespace, pods = trio.run(_pods_of, choice)
    except TelepresenceError as error:
        namespace, refused = "", error
    if as_json:
        shown_pods = None if pods is None else [asdict(pod) for pod in pods]
        click.echo(
            json.dumps({"sessions": [asdict(record) for record in sessions], "pods": shown_pods}, indent=2)
        )
    else:
        click.echo(table("Sessions on this machine", _SESSION_COLUMNS, map(_session_row, sessions)))
        if pods is not None:
            click.echo(table(f"Sidecar pods in namespace {namespace}", _POD_COLUMNS, map(_pod_row, pods)))
    if refused is not None:
        sys.stdout.flush()
        raise refused


def restore_workloads(choice: ClusterChoice, screen: Screen, workload: str | None, force: bool) -> None:
    """Restore one workload, or with None all of the namespace; the session's events tell what is done.

    PreconditionFailed when an original did not come back in time.
    """
    done: set[object] = set()

    def report(event: Event) -> None:
        if event.name == "restored":
            done.update(event.data.get("pods", ()))  # type: ignore[arg-type]
        screen.report(event)

    found = trio.run(_restore, choice, screen, report, workload, force)
    if not found:
        screen.say(f"nothing to restore{'' if workload is None else f' for {workload}'}")
    if late := sorted({leftover.workload for leftover in found if leftover.pod_name not in done}):
        raise PreconditionFailed(
            f"the original of {' and '.join(late)} did not become Ready in time; kubectl describe tells "
            "why, and this may be run again"
        )


def tell_restore(choice: ClusterChoice, screen: Screen, workload: str | None, force: bool) -> None:
    """Print on stdout what `restore_workloads` would do; raises what it raises before it touches anything."""
    show_preview(trio.run(_foretell, choice, screen.report, workload, force), screen)


async def _foretell(choice: ClusterChoice, report: Report, workload: str | None, force: bool) -> Preview:
    async with open_cluster(choice, run_plugin_here) as cluster:
        found = await find_to_restore(cluster, report, workload, force)
        return Preview("restore", workload or "", cluster.namespace, cluster.context, changes_of(found))


async def _pods_of(choice: ClusterChoice) -> tuple[str, tuple[Leftover, ...]]:
    async with open_cluster(choice, run_plugin_here) as cluster:
        return cluster.namespace, await list_leftovers(cluster)


async def _restore(
    choice: ClusterChoice, screen: Screen, report: Report, workload: str | None, force: bool
) -> tuple[Leftover, ...]:
    async with open_cluster(choice, run_plugin_here) as cluster:
        if read_settings(os.environ).protects(cluster.context):
            _confirm(screen, cluster.context)
        return await restore_leftovers(cluster, report, workload, force, whose())


def _confirm(screen: Screen, context: str) -> None:
    """Raises PreconditionFailed unless somebody at a terminal says yes."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise PreconditionFailed(
            f"the context {context} is protected by your config.toml and there is no terminal to ask on; "
            "run this on a terminal"
        )
    screen.ask(f"The context {context} is protected. Restore there?")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise PreconditionFailed("it was not confirmed, so nothing was touched")


def _session_row(record: SessionRecord) -> tuple[str, ...]:
    command = " ".join(record.command)
    return (
        record.session,
        record.workload,
        record.namespace,
        record.context,
        record.since,
        str(record.pid),
        command if len(command) <= 40 else command[:39] + "…",
    )


def _pod_row(pod: Leftover) -> tuple[str, ...]:
    return (pod.pod_name, pod.workload, pod.state, pod.holder, pod.since, pod.session)
