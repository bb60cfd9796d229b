"""What the pod is on its network, and what the child shall see of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
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


@dataclass(frozen=True)
class NetworkView:
    """All that an isolation method has to make true for the child.

    `files` maps absolute paths (/etc/resolv.conf, /etc/hosts, ...) to contents that are bound over.
    `volume_paths` are directories to be made at the pod's own paths, each an empty tmpfs that the session
    fills through a directory fd; `volume_files` are single files (subPath) given with their contents.
    Volumes are read-only to the child but for those in `writable_volume_paths`. At `helper_ports` of the
    pod's addresses other containers of the pod answer, and not the child.
    """

    hostname: str
    addresses: tuple[str, ...]
    files: dict[str, bytes] = field(default_factory=dict)
    volume_paths: tuple[str, ...] = ()
    volume_files: dict[str, bytes] = field(default_factory=dict)
    writable_volume_paths: frozenset[str] = frozenset()
    helper_ports: tuple[int, ...] = ()


@dataclass(frozen=True)
class PortMap:
    """TCP connections to `pod_port` of the pod reach the child on `child_port`."""

    pod_port: int
    child_port: int
    name: str = ""


class Reception(Enum):
    """How far a connection to the child has come, as the kernel tells of the child's end of it."""

    TAKEN = "the child has accepted it"
    QUEUED = "it waits for the child to accept it"
    DEFERRED = "the child's kernel waits for the first bytes (TCP_DEFER_ACCEPT)"
    UNSEEN = "there is no such connection, though somebody listens"
    NOBODY = "there is no such connection, and nobody listens"


@dataclass(frozen=True)
class WebSocketTarget:
    """Where and how to open a WebSocket: the cluster room knows, the tunnel dials.

    `tls` is for a wss URL, `server_name` the name to verify instead of the URL's. `headers` (names may
    repeat) and `proxy` (a URL) carry credentials: never print them. `refused`, which blocks, is to be called
    when they were not accepted: True when a new target would have others.
    """

    url: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    refused: Callable[[], bool] = field(repr=False, default=lambda: False)
    subprotocols: tuple[str, ...] = ("v4.channel.k8s.io",)
    tls: ssl.SSLContext | None = None
    server_name: str | None = None
    proxy: str | None = field(repr=False, default=None)
    proxy_tls: ssl.SSLContext | None = None
