"""What the child shall see, and how far connections to it have come.

In a module of its own, without dataclasses: the namespace agent stays in memory with all that it imports.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import NamedTuple

_NONE: Mapping[str, bytes] = MappingProxyType({})
_NO_MODES: Mapping[str, int] = MappingProxyType({})
FILE_MODE = 0o644
"""Of a single file that says nothing else."""


class NetworkView(NamedTuple):
    """All that an isolation method has to make true for the child.

    `files` maps absolute paths (/etc/resolv.conf, /etc/hosts, ...) to contents that are bound over.
    `volume_paths` are directories to be made at the pod's own paths, each an empty tmpfs that the session
    fills through a directory fd; `volume_files` are single files (subPath) given with their contents. Those
    in `live_volume_paths` are no copies: the session answers the kernel's requests for their files (FUSE).
    Volumes are read-only to the child but for those in `writable_volume_paths`. At `helper_ports` of the
    pod's addresses other containers of the pod answer, and not the child. With `held` the child's TCP
    connections shall wait, where the kernel can, until the session has said what becomes of each.
    With `redirected` they are captured by redirection instead of tproxy, and are not held.
    Below `prefix`, a directory of the laptop that is empty or not there, all volumes are to be seen as well,
    those in `below_prefix` there alone. `file_modes` are those of `volume_files` that have others than
    FILE_MODE.
    With `container` a container tool of the laptop works in the mount namespace, for which only files below a
    directory of the session's own are changed.
    """

    hostname: str
    addresses: tuple[str, ...]
    files: Mapping[str, bytes] = _NONE
    volume_paths: tuple[str, ...] = ()
    volume_files: Mapping[str, bytes] = _NONE
    writable_volume_paths: frozenset[str] = frozenset()
    live_volume_paths: tuple[str, ...] = ()
    helper_ports: tuple[int, ...] = ()
    held: bool = False
    redirected: bool = False
    prefix: str = ""
    below_prefix: frozenset[str] = frozenset()
    file_modes: Mapping[str, int] = _NO_MODES
    container: bool = False


class ContainerPlace(NamedTuple):
    """Where a container finds its world: `first_pid`, as the laptop sees it, is of the process namespace that
    it shall be in; the pod's files and volumes are at their paths below `root`. With docker it is to share
    network and processes with the container named `helper`, of the daemon at `address`."""

    first_pid: int
    root: str
    helper: str = ""
    address: str = ""


class Reception(Enum):
    """How far a connection to the child has come, as the kernel tells of the child's end of it."""

    TAKEN = "the child has accepted it"
    QUEUED = "it waits for the child to accept it"
    DEFERRED = "the child's kernel waits for the first bytes (TCP_DEFER_ACCEPT)"
    UNSEEN = "there is no such connection, though somebody listens"
    NOBODY = "there is no such connection, and nobody listens"


class HeldSyn(NamedTuple):
    """The first packet of a child's TCP connection, which the kernel keeps until it is told what to do.

    Ends are address and port. `sequence` is the same when the kernel repeats the packet, and another one when
    the child connects anew from the same port. `packet` is its number in the queue.
    """

    child: tuple[str, int]
    destination: tuple[str, int]
    sequence: int
    packet: int
