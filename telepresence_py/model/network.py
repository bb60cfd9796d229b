"""What the pod is on its network, and how its tunnel is dialled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl


@dataclass(frozen=True)
class PodFacts:
    """What the sidecar tells of its pod when a tunnel opens.

    `environment` is what the container was given (values undecodable as UTF-8 carry surrogate escapes),
    without what the image adds. `addresses` are the pod's own, primary family first. `resolv_conf` and
    `hosts` are the pod's files, verbatim.
    """

    version: str
    hostname: str
    addresses: tuple[str, ...]
    environment: dict[str, str]
    resolv_conf: str
    hosts: str


@dataclass(frozen=True)
class Mount:
    """A volume mount of the container: absolute path in the pod, as the pod spec gives it.

    `kind` is the volume's type in the pod spec: configMap, secret, projected, downwardAPI, emptyDir,
    persistentVolumeClaim, ... `read_only` is what the pod may do. `sub_path` mounts may be single files.
    """

    path: str
    volume: str
    kind: str
    read_only: bool = False
    sub_path: str = ""


PROTOCOLS = ("TCP", "UDP")
"""Of a pod's ports those that can be led to the child, as the pod spec writes them."""


@dataclass(frozen=True)
class PortMap:
    """Connections or datagrams to `pod_port` of the pod reach the child on `child_port`. One `of_loopback` is
    there for the pod's own containers alone: no readiness waits for it."""

    pod_port: int
    child_port: int
    name: str = ""
    of_loopback: bool = False
    protocol: str = "TCP"

    @property
    def is_udp(self) -> bool:
        return self.protocol == "UDP"


def port_word(port: int, protocol: str) -> str:
    """As the user writes it: `8080`, `53/udp`."""
    return str(port) if protocol == "TCP" else f"{port}/{protocol.lower()}"


@dataclass(frozen=True)
class WebSocketTarget:
    """Where and how to open a port-forward to `port` of a pod: the cluster room knows, the tunnel dials.

    `tls` is for a wss URL, `server_name` the name to verify instead of the URL's. `headers` (names may
    repeat) and `proxy` (a URL) carry credentials: never print them. `refused`, which blocks, is to be called
    when they were not accepted: True when a new target would have others.
    """

    url: str
    port: int
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    refused: Callable[[], bool] = field(repr=False, default=lambda: False)
    tls: ssl.SSLContext | None = None
    server_name: str | None = None
    proxy: str | None = field(repr=False, default=None)
    proxy_tls: ssl.SSLContext | None = None
