"""What every method promises: the child's world as the session gets it, and what a method says of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from socket import socket as Socket
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import trio

    from telepresence_py.isolation.diagnosis import Diagnosis
    from telepresence_py.isolation.facts import HostFacts
    from telepresence_py.isolation.syn_queue import SynQueue
    from telepresence_py.model.world import ContainerPlace, NetworkView


FUSE_DEVICE = "/dev/fuse"

ROOT = "TELEPRESENCE_ROOT"
"""The variable that names the directory in which the pod's volumes are, each at its path below it."""


class World(Protocol):
    """The child's world while it stands; sockets and descriptors close with it. `inside.Inside` tells of the
    single sockets; a method that has none of a kind gives an empty collection, or None.

    `namespaces` are for the child to join (`process.child.ChildSpec`), none where it runs beside the CLI.
    With `shares_localhost` the child's `localhost` and addresses are the laptop's. `variables` are for the
    child's environment. `container`, where the child is one, tells where the files for it are. `proxies` are
    listeners on which the child asks by SOCKS5 or HTTP for connections out of the pod, with `proxy_secret` as
    its password; on `fast_proxies` success is told at once. `name_doors` are UDP sockets on which it asks for
    names. `lost` is set when the world ended by itself.
    """

    @property
    def tcp_listeners(self) -> Sequence[Socket]: ...
    @property
    def loopback_listeners(self) -> Sequence[Socket]: ...
    @property
    def udp_sockets(self) -> Sequence[Socket]: ...
    @property
    def raw_sockets(self) -> Mapping[int, Socket]: ...
    @property
    def diagnosis(self) -> Diagnosis | None: ...
    @property
    def syn_queue(self) -> SynQueue | None: ...
    @property
    def volume_directories(self) -> Mapping[str, int]: ...
    @property
    def namespaces(self) -> Mapping[str, int]: ...
    @property
    def lost(self) -> trio.Event: ...
    @property
    def shares_localhost(self) -> bool: ...
    @property
    def variables(self) -> Mapping[str, str]: ...
    @property
    def container(self) -> ContainerPlace | None: ...
    @property
    def proxies(self) -> Sequence[Socket]: ...
    @property
    def proxy_secret(self) -> str: ...
    @property
    def fast_proxies(self) -> Sequence[Socket]: ...
    @property
    def name_doors(self) -> Sequence[Socket]: ...

    async def socket(self, family: int) -> Socket:
        """A non-blocking TCP socket from which the child's listeners are reached; the caller closes it."""

    def listening_ports(self) -> dict[int, frozenset[str]]:
        """Port -> addresses on which the child listens (TCP)."""

    def bound_ports(self) -> dict[int, frozenset[str]]:
        """The same of UDP; none where the child has no `raw_sockets` to be reached by."""


Serve = Callable[[str, int], None]
"""serve(path, descriptor): answer the kernel for that live volume from now on, and close the descriptor in
the end."""

Enter = Callable[["NetworkView", Callable[[str], None], Serve], AbstractAsyncContextManager[World]]


class Method(NamedTuple):
    """One way to isolate. `hindrance` judges from facts alone why it cannot work here, None if it may;
    `enter` makes it true, or raises StepRefused and has changed nothing.

    `limits` are sentences on what it cannot do, told before anything is touched; `container_limits` those for
    a command that is a container. One with an `offer` is never
    used unless it was asked for; the refusal of all others names it with that clause.
    """

    name: str
    title: str
    hindrance: Callable[[HostFacts], str | None]
    enter: Enter
    limits: tuple[str, ...] = ()
    offer: str = ""
    container_limits: tuple[str, ...] = ()
