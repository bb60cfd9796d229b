"""`status`: how the sessions on this machine are. They are asked at their sockets; the cluster is not."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing

import click

from telepresence_py.cli.tables import table
from telepresence_py.cluster.names import suggestion
from telepresence_py.model.errors import NamedObjectMissing
from telepresence_py.model.records import SessionRecord
from telepresence_py.model.status import LinkStatus, SessionStatus
from telepresence_py.process.records import live_sessions, runtime_directory

ANSWER_SECONDS = 2.0
WATCH_SECONDS = 1.0

_COLUMNS = (
    "SESSION",
    "WORKLOAD",
    "NAMESPACE",
    "POD",
    "LINK",
    "RTT",
    "HEARD",
    "SAID",
    "AGAIN",
    "OPEN",
    "IN",
    "OUT",
)
_UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
_CLEAR = "\x1b[H\x1b[J"


def show_status(session: str | None, as_json: bool, watch: bool) -> None:
    """Once, or each second until ^C. NamedObjectMissing when there is no session of that name."""
    while True:
        records = _chosen(session)
        statuses = [(record, ask(record)) for record in records]
        if as_json:
            click.echo(json.dumps([_fields(record, status) for record, status in statuses]))
        else:
            if watch and sys.stdout.isatty():
                click.echo(_CLEAR, nl=False)
            rows = [row for record, status in statuses for row in _rows(record, status)]
            click.echo(table("Sessions on this machine", _COLUMNS, rows))
        if not watch:
            return
        sys.stdout.flush()
        time.sleep(WATCH_SECONDS)


def ask(record: SessionRecord) -> SessionStatus | None:
    """What the session tells; None when it does not, as while it starts or ends."""
    if not record.socket:
        return None
    try:
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as door:
            door.settimeout(ANSWER_SECONDS)
            door.connect(record.socket)
            door.sendall(b"status\n")
            with door.makefile("rb") as answer:
                return SessionStatus.from_json(answer.readline())
    except (OSError, ValueError):
        return None


def _chosen(session: str | None) -> Sequence[SessionRecord]:
    records = live_sessions(runtime_directory())
    if session is None:
        return records
    named = [record for record in records if record.session == session]
    if not named:
        there = [record.session for record in records]
        others = suggestion(session, there, "sessions")
        raise NamedObjectMissing(f"there is no session {session} on this machine{others}")
    return named


def _fields(record: SessionRecord, status: SessionStatus | None) -> object:
    known = {"session": record.session, "workload": record.workload, "pid": record.pid, "pods": None}
    return known if status is None else json.loads(status.to_json())


def _rows(record: SessionRecord, status: SessionStatus | None) -> Iterator[tuple[str, ...]]:
    begins = (record.session, record.workload, record.namespace)
    if status is None or not status.pods:
        yield (*begins, "-", "starting", *["-"] * 7)
        return
    for pod in status.pods:
        yield (*begins, pod.pod, *_link_words(pod.link))


def _link_words(link: LinkStatus) -> tuple[str, ...]:
    return (
        link.state,
        f"{link.round_trip:.1f} ms",
        f"{link.heard_before:.1f} s",
        f"{link.said_before:.1f} s",
        str(link.reconnects),
        str(link.connections),
        size(link.received),
        size(link.sent),
    )


def size(count: int) -> str:
    """PURE: as people read it."""
    for unit, name in _UNITS:
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} B"
