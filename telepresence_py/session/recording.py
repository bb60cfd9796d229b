"""The record by which `list` finds a session on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from telepresence_py.cluster.client import Cluster
from telepresence_py.model.records import SessionRecord
from telepresence_py.process.records import process_start, runtime_directory, write_record
from telepresence_py.session.identity import SessionIdentity


@contextmanager
def recorded(
    identity: SessionIdentity, cluster: Cluster, workload: str, command: tuple[str, ...]
) -> Iterator[None]:
    """The record is there inside the block; that of a process that dies is left to the next `list`."""
    pid = os.getpid()
    record = SessionRecord(
        session=identity.session,
        workload=workload,
        namespace=cluster.namespace,
        context=cluster.context,
        since=identity.since,
        pid=pid,
        started=process_start(pid) or 0,
        command=command,
    )
    path = write_record(runtime_directory(), record)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
