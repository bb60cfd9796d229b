"""The child's TCP connections, opened again from inside the pod; those to `localhost`, from the laptop,
unless the pod's was asked for; by rules, others from the laptop, too, or not at all.

To the child a connection stands as soon as it is captured. What went wrong behind it is therefore told by a
reset: a refused connection looks like one that broke at once, never like an answer of no bytes.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable, Container, Iterable
from contextlib import asynccontextmanager
from ipaddress import ip_address

from telepresence_py.forward.accepting import Accepting
from telepresence_py.forward.choosing import ChooseTunnel, next_tunnel
from telepresence_py.forward.directions import ALL_TO_POD, Directions
from telepresence_py.forward.joining import Joints, reset_socket
from telepresence_py.forward.packets import Endpoint, endpoint_of
from telepresence_py.model.rules import Way
from telepresence_py.tunnel.interface import MuxStream, Tunnel

log = logging.getLogger(__name__)

FIRST_BYTES = 4 << 10
"""So many travel with the request to connect, if the child has sent them already."""

LAPTOP_DEADLINE = 10.0
"""Seconds for connecting to a port of the laptop's loopback."""

SYSTEM_DEADLINE = 300.0
"""Seconds for connecting to elsewhere from the laptop: the kernel gives up sooner, in its own time."""

POD_LOCALHOST = "localhost"
"""The pod finds by this name whichever of its loopback addresses answers."""

SAME_PLACE = {"::1": "127.0.0.1", "127.0.0.1": "::1"}
"""`localhost` has two addresses. A child to which ::1 seemed to answer will not try the other by itself."""


@asynccontextmanager
async def serve_outbound(
    listeners: Iterable[socket.socket],
    loopback_listeners: Iterable[socket.socket],
    choose_tunnel: ChooseTunnel,
    refuse_from: Callable[[Endpoint], bool] = lambda _: False,
    directions: Directions = ALL_TO_POD,
    pod_localhost: Container[int] = (),
) -> AsyncIterator[Joints]:
    """Serves until the block ends, which resets every connection. Yields them, for counting.

    Both kinds of listeners hand out connections whose getsockname() is where the child wanted to go; they
    stay open and the caller's. What `loopback_listeners` accept goes to the same address and port of the
    laptop, or of the pod for the ports of `pod_localhost`, unless `refuse_from(peer)` says that it is not the
    child that asks. What `listeners` accept goes where `directions` say. Works within an asyncio loop, and
    under trio as its guest; never waits.
    """
    joints = Joints()
    outbound = _Outbound(joints, choose_tunnel, refuse_from, directions, pod_localhost)
    accepting = (Accepting(listeners, outbound.out), Accepting(loopback_listeners, outbound.to_localhost))
    try:
        yield joints
    finally:
        for listening in accepting:
            listening.close()
        joints.abort()


class _Outbound:
    def __init__(
        self,
        joints: Joints,
        choose_tunnel: ChooseTunnel,
        refuse_from: Callable[[Endpoint], bool],
        directions: Directions,
        pod_localhost: Container[int],
    ) -> None:
        self._joints = joints
        self._choose_tunnel = choose_tunnel
        self._refuse_from = refuse_from
        self._directions = directions
        self._pod_localhost = pod_localhost

    def out(self, connection: socket.socket) -> None:
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
                self._joints.start(self._directions.serve_names(connection))
            case _:
                self.to_pod(connection)

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

    def to_localhost(self, connection: socket.socket) -> None:
        try:
            destination = endpoint_of(connection.getsockname())
            peer = endpoint_of(connection.getpeername())
        except OSError:
            reset_socket(connection)
            return
        if not ip_address(destination.address).is_loopback or self._refuse_from(peer):
            reset_socket(connection)
        elif destination.port in self._pod_localhost:
            self.to_pod(connection)
        else:
            self._joints.start(self._dial_laptop(connection, destination))

    async def _dial_laptop(
        self, connection: socket.socket, destination: Endpoint, deadline: float = LAPTOP_DEADLINE
    ) -> None:
        try:
            try:
                dialled = await _connect(destination, deadline)
            except ConnectionRefusedError:
                if destination.address not in SAME_PLACE:
                    raise
                other = destination._replace(address=SAME_PLACE[destination.address])
                dialled = await _connect(other, deadline)
        except OSError as error:
            log.debug("nobody on the laptop at %s port %s: %s", *destination, error)
            reset_socket(connection)
        except BaseException:
            reset_socket(connection)
            raise
        else:
            await self._joints.to_socket(connection, dialled)


async def _connect(destination: Endpoint, deadline: float) -> socket.socket:
    """A connected, non-blocking socket of the laptop; OSError, also when it takes too long."""
    family = socket.AF_INET6 if ":" in destination.address else socket.AF_INET
    dialled = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, socket.IPPROTO_TCP)
    try:
        async with asyncio.timeout(deadline):
            await asyncio.get_running_loop().sock_connect(dialled, destination)
    except BaseException:
        dialled.close()
        raise
    return dialled


def _opened(tunnel: Tunnel, connection: socket.socket) -> MuxStream | None:
    """A stream to where the child meant to go. None, the connection reset, when it is closed already."""
    try:
        destination = endpoint_of(connection.getsockname())
        first = _bytes_already_there(connection)
    except OSError:
        reset_socket(connection)
        return None
    host = POD_LOCALHOST if destination.address in SAME_PLACE else destination.address
    return tunnel.open(host, destination.port, first)


def _bytes_already_there(connection: socket.socket) -> bytes:
    """An end of the stream (b"") is found again by whoever reads next."""
    try:
        return connection.recv(FIRST_BYTES)
    except (BlockingIOError, InterruptedError):
        return b""
