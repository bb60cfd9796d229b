"""The record that a session process keeps of itself in the runtime directory, while it lives. Pure.

The file is `<session>.json` in the runtime directory (process/records.py), made by the session process
(0600, written aside and renamed) and removed by it at its end. A record whose `pid` is gone is left over.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class SessionRecord:
    """`workload` is `deployment/orders`; `since` RFC 3339 in UTC; `pid` the session process.

    `socket` is the path of the session's own door for further visitors, empty where it has none.
    `started` is the process's start time in clock ticks since boot (field 22 of /proc/<pid>/stat, see
    proc(5)): together with `pid` it names one process for good, as numbers are used again.
    """

    session: str
    workload: str
    namespace: str
    context: str
    since: str
    pid: int
    started: int
    command: tuple[str, ...] = ()
    socket: str = ""

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, text: bytes) -> SessionRecord:
        """The inverse of `to_json`; ValueError when the text is not a record of this version."""
        try:
            fields = json.loads(text)
            return cls(**{**fields, "command": tuple(fields.get("command", ()))})
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError("not a session's record") from error
