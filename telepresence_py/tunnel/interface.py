"""What the other rooms know of the tunnel. The real one and the fake pass one conformance suite.

Addresses and ports named here are those of the pod's side: "out" leaves the pod, "in" arrives at it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

import trio

from telepresence_py.model.network import PodFacts
from telepresence_py.model.status import LinkStatus
from telepresence_sidecar.contract.names import Inquiry
from telepresence_sidecar.contract.remote_files import Request
from telepresence_sidecar.contract.splice import Splice, reset
from telepresence_sidecar.contract.stream import MuxStream

__all__ = ["DatagramFlow", "FileReport", "MuxStream", "OnConnection", "PodFiles", "Splice", "Tunnel", "reset"]

OnConnection = Callable[[MuxStream, int, tuple[str, int]], None]
"""on_connection(stream, pod_port, peer): answer with `stream.accept()` or `stream.refuse(errno)`."""


@dataclass(frozen=True)
class FileReport:
    """What the pod says of one path before it sends it.

    `refusal` is empty when the tar stream follows, else a clause that says why it does not. `kind` is
    "directory", "file" or "missing". `files` and `size` (bytes) count regular files, as far as the pod
    looked: it stops at the limits. `unreadable` are relative paths that the tar stream leaves out. `state`
    names what a volume holds that the kubelet renews, and is "" for any other path; None when it was not
    asked for, and from a sidecar that is too old to tell. `operations` is the version in which it serves
    operations, 0 when none were asked for or it is too old; `read_only` is then what the pod may do.
    """

    path: str
    kind: str
    files: int
    size: int
    refusal: str = ""
    unreadable: tuple[str, ...] = ()
    state: str | None = None
    operations: int = 0
    read_only: bool = False


class PodFiles(Protocol):
    """The contents of one path of the pod."""

    report: FileReport

    def chunks(self) -> AsyncGenerator[bytes, None]:
        """The tar stream (pax), to be read once, under trio; empty after a refusal. Names are relative to
        the path; of a single file, its base name. OSError when it breaks off.
        Whoever does not read it to its end closes it (contextlib.aclosing)."""


class FileOperations(Protocol):
    """The files below one directory of the pod. Never two worlds at a time: from asyncio alone."""

    report: FileReport

    def send(self, request: Request) -> asyncio.Future[bytes]:
        """The payload of the answer. Requests are done in the order of their `send`s, waited for or not. The
        future has an OSError as its exception when the pod says so, EIO when the link is given up."""

    def is_lost(self) -> bool: ...

    def close(self) -> None: ...


class DatagramFlow(Protocol):
    """One UDP flow out of the pod, from one source port. Ends by itself when unused for two minutes."""

    def send(self, datagram: bytes) -> None:
        """Never waits; drops when too much is under way, and after the end."""

    def close(self) -> None: ...


class Tunnel(Protocol):
    """One pod's tunnel. Owned by `open_tunnel`; all of it ends with that block. Methods that are not async
    may be called from trio and from asyncio alike."""

    facts: PodFacts
    unserved_ports: Mapping[str, str]
    """Ports of the workload on which the sidecar could not listen, as in `53` or `53/udp`, and why."""
    lost: trio.Event
    """Set when the link is given up or the sidecar is gone; every stream is then lost as well."""
    link_down: trio.Event
    """Set while the link is down: it is dialled again, and what lives through it waits, new connections too.
    A fresh event takes its place when the link is back. Set for good once the tunnel is lost."""
    link_up: trio.Event
    """The opposite, a fresh event while the link is down; set for good as well once the tunnel is lost."""

    def status(self) -> LinkStatus:
        """How the link is, and what went over it so far."""

    def open(self, host: str, port: int, first: bytes = b"") -> MuxStream:
        """A TCP connection from the pod to host:port. Usable at once; `opened` tells how connect(2) went."""

    def datagrams(
        self, host: str, port: int, on_datagram: Callable[[bytes], None], on_end: Callable[[int], None]
    ) -> DatagramFlow:
        """A UDP flow from the pod to host:port. `on_end(errno)` is called once unless closed before:
        ECONNREFUSED when nobody is there, ETIMEDOUT when it was unused too long, ECONNRESET when the tunnel
        is lost."""

    async def resolve(self, inquiry: Inquiry, on_answer: Callable[[bytes], None]) -> None:
        """Asks the pod's name servers, as an asyncio coroutine. `on_answer` is called with each raw answer,
        in the order of the inquiry's queries, as they come. The pod tries each server and repeats. Returns
        when no more answers come; OSError (ETIMEDOUT, ...) when there was none."""

    def listen(self, on_connection: OnConnection) -> None:
        """Who takes connections that arrive in the pod. Streams come only for ports of `set_listening`. One
        that is refused with ECONNREFUSED goes on waiting in the pod, with its bytes, and comes again."""

    def listen_datagrams(self, on_flow: OnConnection) -> None:
        """Who takes datagrams that arrive at the pod's UDP ports: each client is a stream, which hands out
        and takes whole datagrams. To be answered as connections are; a refused client's next datagram is
        another stream."""

    def set_listening(self, pod_ports: frozenset[int]) -> None:
        """The pod's ports on which connections are taken from now on; those to others wait in the pod."""

    def set_ready(self, ready: bool) -> None:
        """What the pod answers to its readiness probe."""

    def files(
        self, path: str, max_bytes: int, max_files: int, unlike: str | None = None
    ) -> AbstractAsyncContextManager[PodFiles]:
        """Report and contents of a directory or file of the pod, in one round trip; under trio. Ask for
        several paths concurrently. OSError when the tunnel is lost.

        `unlike` asks for the state of a volume that the kubelet renews (`..data`): the answer comes as soon
        as the volume is in another state than that, for "" at once, and holds the contents of that state
        alone. Nothing is sent while it is waited for. The answer breaks off with ESTALE when its state is
        replaced meanwhile: ask again."""

    async def operations(self, path: str) -> FileOperations:
        """A directory of the pod, to be worked on where it is, in one round trip; an asyncio coroutine. The
        caller closes it. OSError when the tunnel is lost; ENOTSUP from a sidecar that is too old, ENOTDIR
        for a single file, ENOENT for what is not there, with the pod's reason."""

    async def hand_over(self, pod_addresses: tuple[str, ...]) -> None:
        """Under trio: connections that wait, and all later ones, go to the restored original at the first
        of these addresses that answers. Returns when the sidecar knows; a link that is down is waited for."""

    async def leave(self) -> None:
        """Under trio: say goodbye, so that the sidecar need not wait for us. After `hand_over` it goes on
        forwarding until it is told to stop, else it exits at once. `lost` is set on return. Waits for a link
        that is down."""
