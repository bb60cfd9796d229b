"""The record by which others on this machine find a session, and the socket at which it answers them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from telepresence_py.cluster.client import Cluster
from telepresence_py.model.records import SessionRecord
from telepresence_py.process.records import process_start, runtime_directory, socket_path, write_record
from telepresence_py.session.identity import SessionIdentity


@dataclass(frozen=True)
class Recorded:
    """`entrance` listens, for `receive_visitors`; None where there can be none."""

    record: SessionRecord
    entrance: socket.socket | None


@contextmanager
def recorded(
    identity: SessionIdentity, cluster: Cluster, workload: str, command: tuple[str, ...]
) -> Iterator[Recorded]:
    """Record and socket are there inside the block; those of a process that dies the next `list` removes."""
    directory, pid = runtime_directory(), os.getpid()
    place = socket_path(directory, identity.session)
    entrance = entrance_at(place)
    record = SessionRecord(
        session=identity.session,
        workload=workload,
        namespace=cluster.namespace,
        context=cluster.context,
        since=identity.since,
        pid=pid,
        started=process_start(pid) or 0,
        command=command,
        socket="" if entrance is None else str(place),
    )
    path = write_record(directory, record)
    try:
        yield Recorded(record, entrance)
    finally:
        path.unlink(missing_ok=True)
        if entrance is not None:
            entrance.close()
            place.unlink(missing_ok=True)


def entrance_at(place: Path) -> socket.socket | None:
    """For this user alone, by the directory's mode and its own. A path too long for a socket gets none."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with suppress(OSError):
        place.unlink(missing_ok=True)
        made.bind(str(place))
        place.chmod(0o600)
        made.listen()
        return made
    made.close()
    return None
