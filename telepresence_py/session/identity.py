"""Who this session is, to the cluster and to the user's other machines."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True)
class SessionIdentity:
    """Session id (a valid label value), public half of the session's key, RFC 3339 start time in UTC."""

    session: str
    client_key: str
    since: str


def new_identity(client_key: str) -> SessionIdentity:
    """A session that begins now; `client_key` is one OpenSSH line."""
    return SessionIdentity(secrets.token_hex(4), client_key, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
