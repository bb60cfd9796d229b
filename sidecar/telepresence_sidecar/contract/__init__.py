"""What the laptop and the pod agree on: names, the sidecar's configuration, the tunnel's frames.

Standard library only. Both ends import this package, so that there is one text of the protocol.
"""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass

__version__ = "0.1.0"

PROTOCOL = 3
"""Version of the frames and messages inside the SSH channel; differing ends refuse each other."""

SUBSYSTEM = "telepresence"
"""The one SSH subsystem that the sidecar serves; its channel carries the mux."""

SSH_USER = "telepresence"

LINK_VARIABLE = "TELEPRESENCE_LINK"
"""The SSH `env` request in which the laptop names its link: `claim` of contract.link."""

FINGERPRINT_LOG_PREFIX = "host key "
"""The line of the pod log that tells the host key: prefix, then `SHA256:...` as OpenSSH prints it."""

PROBE_PATIENCE_SECONDS = 9.0
"""So long the sidecar lets a readiness probe wait; the probe's own time-out is longer."""

CONNECTED_LOG_PREFIX = "client connected"
LOST_LOG_PREFIX = "client lost"
"""The last line of the pod log that begins with one of these two tells whether a session is there."""

SESSION_LABEL = "telepresence-py/session"
"""Label of every pod that we make; its value is the session's id."""

HOLDER_ANNOTATION = "telepresence-py/holder"
"""user@host of whoever started the session."""

SINCE_ANNOTATION = "telepresence-py/since"
"""RFC 3339 time, UTC, at which the session began."""

WORKLOAD_ANNOTATION = "telepresence-py/workload"
"""`deployment/orders`: what the pod stands in for."""

CONTAINER_ANNOTATION = "telepresence-py/container"
"""Name of the container that the sidecar took the place of."""

VERSION_ANNOTATION = "telepresence-py/version"


@dataclass(frozen=True)
class SidecarConfig:
    """All that the sidecar is told, as its only argument; no secret is among it.

    `client_key` is the session's public key as one OpenSSH line. `ports` are the workload's TCP ports, on
    which connections are accepted (and held); `loopback_ports` are further ones that are bound on the pod's
    loopback alone, for its own containers. `udp_ports` are the workload's for datagrams. `tunnel_port` is
    bound on loopback, too, `health_port` on every address; neither is among the ports of the pod. `grace` is
    how many seconds to wait for a client. `drain_seconds` is the most that a sidecar which hands over may
    take from SIGTERM to its exit: keep it below the pod's terminationGracePeriodSeconds.
    """

    session: str
    holder: str
    client_key: str
    ports: tuple[int, ...]
    tunnel_port: int
    health_port: int
    grace: float = 30.0
    hold_seconds: float = 60.0
    hold_connections: int = 1024
    drain_seconds: float = 25.0
    loopback_ports: tuple[int, ...] = ()
    udp_ports: tuple[int, ...] = ()

    def to_argument(self) -> str:
        """One shell-safe word, for the `args` of a container. A sidecar that is too old for loopback or UDP
        ports understands it if there are none."""
        fields = asdict(self)
        for newer in ("loopback_ports", "udp_ports"):
            if not fields[newer]:
                del fields[newer]
        return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()

    @classmethod
    def from_argument(cls, word: str) -> SidecarConfig:
        """The inverse of `to_argument`; ValueError or TypeError when the word is not one of its."""
        fields = json.loads(base64.urlsafe_b64decode(word))
        for ports in ("ports", "loopback_ports", "udp_ports"):
            fields[ports] = tuple(fields.get(ports, ()))
        return cls(**fields)
