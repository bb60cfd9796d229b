"""Who this session is, to the cluster and to the user's machines, and what its sidecars are told of it."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from telepresence_py.cluster.calls import Json
from telepresence_py.model.intent import Intent
from telepresence_py.model.network import PortMap
from telepresence_py.session.podspec import free_ports
from telepresence_sidecar.contract import SidecarConfig


@dataclass(frozen=True)
class SessionIdentity:
    """Session id (a valid label value), public half of the session's key, RFC 3339 start time in UTC."""

    session: str
    client_key: str
    since: str


def new_identity(client_key: str) -> SessionIdentity:
    """A session that begins now; `client_key` is one OpenSSH line."""
    return SessionIdentity(secrets.token_hex(4), client_key, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))


def sidecar_config(
    intent: Intent, identity: SessionIdentity, ports: Sequence[PortMap], specs: Iterable[Json]
) -> SidecarConfig:
    """PURE: for sidecars that serve these ports, in pods of these specs, whose own ports are left alone."""
    pod_ports = tuple(port.pod_port for port in ports if not port.is_udp)
    udp_ports = tuple(port.pod_port for port in ports if port.is_udp)
    loopback_ports = tuple(port for port in intent.localhost.from_pod if port not in pod_ports)
    tunnel_port, health_port = free_ports(specs, (*pod_ports, *loopback_ports))
    return SidecarConfig(
        session=identity.session,
        holder=intent.holder,
        client_key=identity.client_key,
        ports=pod_ports,
        tunnel_port=tunnel_port,
        health_port=health_port,
        grace=intent.grace_seconds,
        loopback_ports=loopback_ports,
        udp_ports=udp_ports,
    )
