"""What colleagues read of a swap in `kubectl describe` of the workload: who has it, since when, who restored.

Best effort: Events need a right that no swap needs, and whoever is killed writes none.
"""

from __future__ import annotations

import trio

from telepresence_py.cluster.calls import Json
from telepresence_py.cluster.client import Cluster
from telepresence_py.cluster.notes import Note, stands, write_note
from telepresence_py.cluster.owners import Workload
from telepresence_py.session.manifest import restore_command
from telepresence_py.session.plan import SwapPlan
from telepresence_py.session.podstate import Holder

FORBIDDEN = 403
AGAIN_SECONDS = 20 * 60.0
"""API servers forget an Event after an hour, unless told otherwise; what is told again is counted."""


class Courtesy:
    """Of one session."""

    def __init__(self, cluster: Cluster, plan: SwapPlan) -> None:
        self._cluster = cluster
        self._target = plan.target
        self._holder = Holder(
            plan.config.holder, plan.shape.since, plan.workload, plan.container, plan.config.session
        )
        self._told = False

    async def tell_swapped(self, placed: trio.Event) -> None:
        """From then on, again and again, until cancelled; ends when it may not. Raises nothing."""
        await placed.wait()
        note, count = swapped_note(self._target, self._holder), 1
        while (status := await write_note(self._cluster, note, count)) != FORBIDDEN:
            if stands(status):
                self._told, count = True, count + 1
            await trio.sleep(AGAIN_SECONDS)

    async def tell_restored(self) -> None:
        """Where it had been told that it was swapped; soon done, and raises nothing."""
        if self._told:
            await write_note(self._cluster, restored_note(self._target.itself, self._holder))


async def tell_restored_by(cluster: Cluster, workload: Workload, holder: Holder, by: str) -> None:
    """That somebody else put back what that session held, over what the session itself may have told."""
    await write_note(cluster, restored_note(workload.itself, holder, by), over=True)


def swapped_note(workload: Workload, holder: Holder) -> Note:
    """PURE."""
    message = (
        f"{holder.who} stands in for it with telepresence-py since {holder.since}, session {holder.session}; "
        f"to have it back: {restore_command(holder.workload)}"
    )
    return Note(_name(workload.itself, holder, "swapped"), workload.itself, "Swapped", message)


def restored_note(about: Json, holder: Holder, by: str | None = None) -> Note:
    """PURE. Without `by` the session restored what it held."""
    message = (
        f"The originals are back, restored by {by or holder.who}; session {holder.session} of {holder.who} "
        f"had it since {holder.since}"
    )
    return Note(_name(about, holder, "restored"), about, "Restored", message)


def _name(about: Json, holder: Holder, what: str) -> str:
    """One for each session, so that whoever tells it again finds what was told."""
    return f"{about['name'][:200].rstrip('-.')}.{holder.session}.{what}"
