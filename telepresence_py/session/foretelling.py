"""`--dry-run`: once all is read and checked, what would be done is told, and nothing is done."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from telepresence_py.cluster.calls import Json
from telepresence_py.cluster.client import Cluster
from telepresence_py.forward.publishing import taken_ports
from telepresence_py.model.door import Foretold
from telepresence_py.model.intent import EnvironmentChoice, Intent, SwapIntent
from telepresence_py.model.preview import Change, Preview
from telepresence_py.session.door import Door


class Plan(Protocol):
    """Of a swap or of a run."""

    @property
    def workload(self) -> str: ...
    @property
    def changes(self) -> tuple[Change, ...]: ...


def foretell(door: Door, cluster: Cluster, intent: Intent, plan: Plan, objects: Iterable[Json]) -> None:
    """Tell the CLI. PreconditionFailed where a port of the laptop could not be had, as `taken_ports` says."""
    with taken_ports(intent.localhost.published):
        pass
    preview = Preview(
        command="swap" if isinstance(intent, SwapIntent) else "run",
        workload=plan.workload,
        namespace=cluster.namespace,
        context=cluster.context,
        changes=(*plan.changes, *written_files(intent.environment)),
        objects=tuple(objects),
    )
    door.post(Foretold(preview))


def written_files(choice: EnvironmentChoice) -> tuple[Change, ...]:
    """PURE: what outlives a session on the laptop, as it was asked for."""
    paths = (path for path in (choice.env_file, choice.env_json) if path is not None)
    return tuple(Change(f"write the environment to {path}", f"nothing: {path} is yours") for path in paths)
