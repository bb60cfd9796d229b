"""What a session tells of itself while it lives: the answer of its socket. Pure.

Times are seconds, round trips milliseconds, sizes bytes that went over the link, resent ones counted once.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

VERSION = 1
"""Of the answer's fields; new ones may come without another."""


@dataclass(frozen=True)
class LinkStatus:
    """`state` is "up", "down" (it is dialled again, and what goes through it waits) or "lost".

    `heard_before` and `said_before`: so long ago the last byte came and went, heartbeats too. `connections`
    are TCP connections in both directions.
    """

    state: str
    round_trip: float
    heard_before: float
    said_before: float
    reconnects: int
    connections: int
    received: int
    sent: int


@dataclass(frozen=True)
class PodStatus:
    pod: str
    link: LinkStatus


@dataclass(frozen=True)
class SessionStatus:
    """`pods` are those that the session holds a tunnel to; none yet while it starts."""

    session: str
    workload: str
    namespace: str
    context: str
    since: str
    pid: int
    pods: tuple[PodStatus, ...]
    version: int = VERSION

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, text: bytes) -> SessionStatus:
        """The inverse of `to_json`; ValueError when it is no answer of this version."""
        try:
            fields = json.loads(text)
            if fields["version"] != VERSION:
                raise ValueError(f"version {fields['version']}")
            pods = tuple(PodStatus(pod["pod"], LinkStatus(**pod["link"])) for pod in fields["pods"])
            return cls(**{**fields, "pods": pods})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError("not a status of this version") from error
