"""The child's TCP connections, opened again from inside the pod; those to `localhost`, from the laptop,
unless the pod's was asked for; by rules, others from the laptop, too, or not at all.

Where the kernel holds them (`truthful`), a connection stands to the child once its far leg does. Else it does
as soon as it is captured, and what went wrong behind it is told by a reset: a refused connection looks like
one that broke at once, never like an answer of no bytes.
"""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from ipaddress import ip_address

from telepresence_py.forward.accepting import Accepting
from telepresence_py.forward.choosing import ChooseTunnel, next_tunnel
from telepresence_py.forward.dialling import (
    LAPTOP_DEADLINE,
    SAME_PLACE,
    SYSTEM_DEADLINE,
    Dial,
    LaptopDial,
    PodDial,
    Settled,
    connect_from_laptop,
)
from telepresence_py.forward.directions import ALL_TO_POD, Directions
from telepresence_py.forward.joining import Joints, reset_socket
from telepresence_py.forward.packets import Endpoint, endpoint_of
from telepresence_py.forward.truthful import SynQueue, Truthful
from telepresence_py.model.rules import Way
from telepresence_py.model.world import HeldSyn
from telepresence_py.tunnel.interface import MuxStream, Tunnel

log = logging.getLogger(__name__)

FIRST_BYTES = 4 << 10
"""So many travel with the request to connect, if the child has sent them already."""

POD_LOCALHOST = "localhost"
"""The pod finds by this name whichever of its loopback addresses answers."""


@asynccontextmanager
async def serve_outbound(
    listeners: Iterable[socket.socket],
    loopback_listeners: Iterable[socket.socket],
    choose_tunnel: ChooseTunnel,
    refuse_from: Callable[[Endpoint], bool] = lambda _: False,
    directions: Directions = ALL_TO_POD,
    syn_queue: SynQueue | None = None,
) -> AsyncIterator[Joints]:
    """Serves until the block ends, which resets every connection. Yields them, for counting.

    Both kinds of listeners hand out connections whose getsockname() is where the child wanted to go; they
    stay open and the caller's, as what `syn_queue` works on does. What `loopback_listeners` accept goes to
    the same address and port of the laptop, or of the pod for ports that `directions` find there, unless
    `refuse_from(peer)` says that it is not the child that asks. What `listeners` accept goes where
    `directions` say. Works within an asyncio loop, and under trio as its guest; never waits.
    """
    joints = Joints()
    outbound = _Outbound(joints, choose_tunnel, refuse_from, directions)
    if syn_queue is not None:
        outbound.truthful = Truthful(syn_queue, outbound.dial_for)
    accepting = (Accepting(listeners, outbound.out), Accepting(loopback_listeners, outbound.to_localhost))
    try:
        yield joints
    finally:
        for listening in accepting:
            listening.close()
        if outbound.truthful is not None:
            outbound.truthful.close()
        joints.abort()


class _Outbound:
    truthful: Truthful | None = None

    def __init__(
        self,
        joints: Joints,
        choose_tunnel: ChooseTunnel,
        refuse_from: Callable[[Endpoint], bool],
        directions: Directions,
    ) -> None:
        self._joints = joints
        self._choose_tunnel = choose_tunnel
        self._refuse_from = refuse_from
        self._directions = directions

    def out(self, connection: socket.socket) -> None:
        if self._joined_as_dialled(connection):
            return
        try:
            destination = endpoint_of(connection.getsockname())
        except OSError:
            reset_socket(connection)
            return
        match self._directions.way(destination):
            case Way.NEVER:
                reset_socket(connection)
            case Way.LAPTOP:
                self._joints.start(self._dial_laptop(connection, destination, SYSTEM_DEADLINE))
            case Way.NAMES:
                self._serve_names(connection)
            case _:
                self.to_pod(connection)

    def dial_for(self, syn: HeldSyn) -> Dial:
        destination = Endpoint(*syn.destination)
        if ip_address(destination.address).is_loopback:
            if self._refuse_from(Endpoint(*syn.child)):
                return Settled(errno.ECONNREFUSED, reset_socket)
            if destination.port in self._directions.pod_localhost:
                return PodDial(self._joints, self._choose_tunnel, _in_pod(destination))
            return LaptopDial(self._joints, destination)
        match self._directions.way(destination):
            case Way.NEVER:
                return Settled(errno.ECONNREFUSED, reset_socket)
            case Way.LAPTOP:
                return LaptopDial(self._joints, destination, SYSTEM_DEADLINE)
            case Way.NAMES:
                return Settled(0, self._serve_names)
            case _:
                return PodDial(self._joints, self._choose_tunnel, destination)

    def to_pod(self, connection: socket.socket) -> None:
        tunnel = self._choose_tunnel()
        if tunnel is None:
            self._joints.start(self._to_pod_later(connection))
        elif (stream := _opened(tunnel, connection)) is not None:
            self._joints.start(self._joints.to_stream(connection, stream))

    async def _to_pod_later(self, connection: socket.socket) -> None:
        """The session has no pod for a moment: its connections wait, as they would for a slow network."""
        try:
            tunnel = await next_tunnel(self._choose_tunnel)
        except BaseException:
            reset_socket(connection)
            raise
        if (stream := _opened(tunnel, connection)) is not None:
            await self._joints.to_stream(connection, stream)

    def _serve_names(self, connection: socket.socket) -> None:
        self._joints.start(self._directions.serve_names(connection))

    def to_localhost(self, connection: socket.socket) -> None:
        if self._joined_as_dialled(connection):
            return
        try:
            destination = endpoint_of(connection.getsockname())
            peer = endpoint_of(connection.getpeername())
        except OSError:
            reset_socket(connection)
            return
        if not ip_address(destination.address).is_loopback or self._refuse_from(peer):
            reset_socket(connection)
        elif destination.port in self._directions.pod_localhost:
            self.to_pod(connection)
        else:
            self._joints.start(self._dial_laptop(connection, destination))

    def _joined_as_dialled(self, connection: socket.socket) -> bool:
        """False for a connection that was not held, as none is without the kernel's help."""
        if self.truthful is None:
            return False
        try:
            ends = endpoint_of(connection.getpeername()), endpoint_of(connection.getsockname())
        except OSError:  # it is closed already; its leg ends as one that nobody took
            reset_socket(connection)
            return True
        dial = self.truthful.taken(*ends)
        if dial is not None:
            dial.join(connection)
        return dial is not None

    async def _dial_laptop(
        self, connection: socket.socket, destination: Endpoint, deadline: float = LAPTOP_DEADLINE
    ) -> None:
        try:
            dialled = await connect_from_laptop(destination, deadline)
        except OSError as error:
            log.debug("nobody on the laptop at %s port %s: %s", *destination, error)
            reset_socket(connection)
        except BaseException:
            reset_socket(connection)
            raise
        else:
            await self._joints.to_socket(connection, dialled)


def _opened(tunnel: Tunnel, connection: socket.socket) -> MuxStream | None:
    """A stream to where the child meant to go. None, the connection reset, when it is closed already."""
    try:
        destination = endpoint_of(connection.getsockname())
        first = _bytes_already_there(connection)
    except OSError:
        reset_socket(connection)
        return None
    destination = _in_pod(destination)
    return tunnel.open(destination.address, destination.port, first)


def _in_pod(destination: Endpoint) -> Endpoint:
    """Where the pod finds it."""
    return destination._replace(address=POD_LOCALHOST) if destination.address in SAME_PLACE else destination


def _bytes_already_there(connection: socket.socket) -> bytes:
    """An end of the stream (b"") is found again by whoever reads next."""
    try:
        return connection.recv(FIRST_BYTES)
    except (BlockingIOError, InterruptedError):
        return b""
