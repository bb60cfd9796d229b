"""Events on an object, which `kubectl describe` shows: a courtesy, for which nobody waits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import trio

from telepresence_py.cluster.calls import EVENTS, Call, Json
from telepresence_py.cluster.client import Cluster
from telepresence_py.model.errors import TelepresenceError

COMPONENT = "telepresence-py"
PATIENCE_SECONDS = 2.0
NO_ANSWER = 0
_ANY = range(400, 600)


@dataclass(frozen=True)
class Note:
    """`name` is the Event's own, `about` refers to the object (apiVersion, kind, name, uid)."""

    name: str
    about: Json
    reason: str
    message: str


async def write_note(cluster: Cluster, note: Note, count: int = 1, over: bool = False) -> int:
    """Create the Event or, from a `count` of two on, tell it again: its time to live begins anew.

    With `over` one that is there already gets this message. The last answer's status, or NO_ANSWER after
    PATIENCE_SECONDS; it raises nothing.
    """
    with trio.move_on_after(PATIENCE_SECONDS):
        try:
            return await _write(cluster, note, count, over)
        except TelepresenceError:
            return NO_ANSWER
    return NO_ANSWER


def stands(status: int) -> bool:
    """PURE: whether by that status of `write_note` there is such an Event."""
    return 200 <= status < 300 or status == 409


async def _write(cluster: Cluster, note: Note, count: int, over: bool) -> int:
    if count == 1:
        status = await _create(cluster, note, count)
        if status != 409 or not over:
            return status
    again = {"count": count, "lastTimestamp": _now(), "message": note.message}
    status = (await cluster.call(_call("patch", note.name, again), accept=_ANY)).status
    return await _create(cluster, note, count) if status == 404 else status


async def _create(cluster: Cluster, note: Note, count: int) -> int:
    about, now = {key: note.about[key] for key in ("apiVersion", "kind", "name", "uid")}, _now()
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": note.name, "namespace": cluster.namespace},
        "involvedObject": about | {"namespace": cluster.namespace},
        "type": "Normal",
        "reason": note.reason,
        "message": note.message,
        "source": {"component": COMPONENT},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": count,
    }
    return (await cluster.call(_call("create", "", event), accept=_ANY)).status


def _call(verb: str, name: str, body: Json) -> Call:
    return Call(verb, EVENTS, name, body=body, abandonable=True)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
