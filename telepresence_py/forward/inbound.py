"""The cluster's connections to the pod, handed to the child; and the watch over what the child listens on.

A connection that cannot be handed over now is refused with ECONNREFUSED and goes on waiting in the pod. It
must never end up at a port of the laptop: a connection to loopback inside that the child does not take falls
through to the laptop's (see outbound), so the port is looked at right before, and `made` tells outbound which
connections are ours, for the moment in between.

The pod is told that a connection is taken, and the child gets its bytes, once the child has accepted it (see
handover). Until then its end is no failure: it goes back to the pod.
"""

from __future__ import annotations

import errno
import logging
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass

import trio

from telepresence_py.forward.handover import Diagnosis, Handover
from telepresence_py.forward.joining import Joints, reset_socket
from telepresence_py.forward.packets import Endpoint
from telepresence_py.forward.reaching import SourceTaken, begin_connecting, shown_client, wait_connected
from telepresence_py.forward.targets import (
    Listening,
    is_loopback,
    loopback_targets,
    of_family_first,
    served_ports,
    targets,
)
from telepresence_py.model.errors import TelepresenceError
from telepresence_py.model.network import PortMap
from telepresence_py.tunnel.bridge import in_asyncio
from telepresence_py.tunnel.interface import MuxStream, Tunnel, reset

log = logging.getLogger(__name__)

EAGER_SECONDS = 0.05
"""Between two looks at what the child listens on, while something is missing."""

CALM_SECONDS = 0.25
"""The same while all awaited ports are listened on."""

FRESH_SECONDS = 0.01
"""A look that old is as good as a new one."""

LOOK_SHARE = 20
"""Looking takes at most one part in so many of the time: with thousands of connections one look is dear."""


@dataclass(frozen=True)
class ChildNetwork:
    """The child's network as isolation knows it. `make_socket(family)` (trio): a TCP socket born inside.
    `listening_ports` are those of TCP, `bound_ports` those of UDP.

    Without `diagnosis` a connection counts as accepted once it stands. Unless it `shows_clients`, connections
    come from its own loopback: only where every address is local can others be bound to.
    """

    make_socket: Callable[[int], Awaitable[socket.socket]]
    listening_ports: Callable[[], Listening]
    addresses: tuple[str, ...]
    diagnosis: Diagnosis | None = None
    shows_clients: bool = True
    bound_ports: Callable[[], Listening] = dict


@asynccontextmanager
async def serve_inbound(
    nursery: trio.Nursery,
    ports: tuple[PortMap, ...],
    child: ChildNetwork,
    heard: Callable[[Listening], None] = lambda _: None,
) -> AsyncIterator[Inbound]:
    """Serves, in the caller's nursery, the tunnels that are attached, until the block ends.

    Then all tunnels are told that nobody listens, and every connection is reset. `heard` is told whenever
    something else than before is listened on inside, on whatever ports.
    """
    inbound = Inbound(ports, child, heard)
    scope = await nursery.start(inbound.run)
    try:
        yield inbound
    finally:
        scope.cancel()
        inbound.close()


class Inbound:
    """Made and ended by `serve_inbound`. Functions that are not async may be called from asyncio, too."""

    def __init__(
        self, ports: tuple[PortMap, ...], child: ChildNetwork, heard: Callable[[Listening], None]
    ) -> None:
        self._ports = tuple(port for port in ports if not port.is_udp)
        self._udp_ports = tuple(port for port in ports if port.is_udp)
        self._child_ports = {port.pod_port: port.child_port for port in self._ports}
        self._of_loopback = frozenset(port.pod_port for port in ports if port.of_loopback)
        self._awaited = frozenset(self._child_ports.keys() - self._of_loopback)
        self._heard = heard
        self._child = child
        self._tunnels: list[Tunnel] = []
        self._joints = Joints()
        self._handover: Handover | None = None
        self._listeners: dict[int, frozenset[int]] = {}
        self._made: Counter[Endpoint] = Counter()  # a client may call two ports from one of its own
        self._listening: Listening = {}
        self._looked = float("-inf")
        self._look_took = 0.0
        self._served: frozenset[int] = frozenset()
        self._has_all = False
        self._all_listened = trio.Event()
        self._connections: trio.Nursery | None = None
        self._closed = False

    def __len__(self) -> int:
        """Connections that live."""
        return len(self._joints)

    @property
    def served(self) -> frozenset[int]:
        """The pod's ports whose connections the child takes now, as the tunnels were told."""
        return self._served

    def attach(self, tunnel: Tunnel) -> None:
        """Connections of that tunnel's pod come to the child from now on."""
        self._tunnels = [other for other in self._tunnels if not other.lost.is_set()]
        self._tunnels.append(tunnel)
        tunnel.listen(self._arrived)
        tunnel.set_listening(self._served)

    async def wait_listening(self) -> None:
        """Returns once the child listens on every awaited port at the same time; at once when none is."""
        await self._all_listened.wait()

    def made(self, peer: Endpoint) -> bool:
        """Whether a connection that comes from there is one that we make to the child."""
        return peer in self._made

    async def run(self, *, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        """Watches and connects until the scope that it reports is cancelled."""
        with ExitStack() as stack:
            if self._child.diagnosis is not None:
                self._handover = stack.enter_context(closing(Handover(self._child.diagnosis)))
            async with trio.open_nursery() as self._connections:
                self._look()
                task_status.started(self._connections.cancel_scope)
                while True:
                    pause = CALM_SECONDS if self._has_all else EAGER_SECONDS
                    await trio.sleep(max(pause, LOOK_SHARE * self._look_took))
                    self._look()

    def close(self) -> None:
        """Nobody listens any more; living connections are reset."""
        self._closed = True
        self._tell(frozenset())
        self._joints.abort()

    # --- the watch -----------------------------------------------------------------------------------

    def _look(self) -> None:
        before = trio.current_time()
        self._listeners = self._listeners_now()  # first: what listens only since then counts as unknown
        seen, self._listening = self._listening, self._child.listening_ports()
        self._looked = trio.current_time()
        self._look_took = self._looked - before
        self._tell(served_ports(self._ports, self._listening, self._child.addresses))
        self._has_all = self._awaited <= self._served and self._takes_datagrams()
        if self._has_all:
            self._all_listened.set()
        elif self._all_listened.is_set():
            self._all_listened = trio.Event()
        if self._listening != seen:
            self._heard(self._listening)

    def _takes_datagrams(self) -> bool:
        """On every UDP port; they are looked at by whom they are for (see callers), here for readiness."""
        if not self._udp_ports:
            return True
        bound = self._child.bound_ports()
        return len(served_ports(self._udp_ports, bound, self._child.addresses)) == len(self._udp_ports)

    def _look_unless_fresh(self) -> None:
        if trio.current_time() - self._looked > FRESH_SECONDS:
            self._look()

    def _listeners_now(self) -> dict[int, frozenset[int]]:
        if self._child.diagnosis is not None:
            with suppress(OSError):
                return self._child.diagnosis.listeners()
        return {}

    def _tell(self, served: frozenset[int]) -> None:
        if served != self._served:
            self._served = served
            for tunnel in self._tunnels:
                if not tunnel.lost.is_set():
                    tunnel.set_listening(served)

    # --- connections ---------------------------------------------------------------------------------

    def _arrived(self, stream: MuxStream, pod_port: int, peer: tuple[str, int]) -> None:
        if self._closed or self._connections is None or pod_port not in self._child_ports:
            stream.refuse(errno.ECONNREFUSED)
        else:
            self._connections.start_soon(self._deliver, stream, pod_port, Endpoint(*peer))

    async def _deliver(self, stream: MuxStream, pod_port: int, client: Endpoint) -> None:
        try:
            tried: set[str] = set()
            while (address := self._next_target(pod_port, tried, client)) is not None:
                tried.add(address)
                if await self._connect(stream, Endpoint(address, self._child_ports[pod_port]), client):
                    return
        except TelepresenceError as error:  # the agent is gone, and the child with it
            log.debug("no socket in the child's world: %s", error)
        except BaseException:  # the end: what was not accepted yet waits in the pod for the restored original
            stream.refuse(errno.ECONNREFUSED)
            raise
        stream.refuse(errno.ECONNREFUSED)
        # Said even if somebody listens again by now: the pod offers what waits when a port comes back. Not
        # within the same breath, lest a child that never takes anything keeps us and the pod busy.
        self._tell(self._served - {pod_port})
        await trio.sleep(EAGER_SECONDS)
        self._look_unless_fresh()

    def _next_target(self, pod_port: int, tried: set[str], client: Endpoint) -> str | None:
        """What was seen last is good enough to try, unless it is nothing or could lead to the laptop."""
        address = self._seen_target(pod_port, tried, client)
        if address is None or is_loopback(address):
            self._look_unless_fresh()
            address = self._seen_target(pod_port, tried, client)
        return address

    def _seen_target(self, pod_port: int, tried: set[str], client: Endpoint) -> str | None:
        """Of the client's family if possible, as the child shall see the client's address."""
        listens_on = self._listening.get(self._child_ports[pod_port], ())
        find = loopback_targets if pod_port in self._of_loopback else targets
        fitting = of_family_first(find(listens_on, self._child.addresses), client.address)
        return next((each for each in fitting if each not in tried), None)

    async def _connect(self, stream: MuxStream, target: Endpoint, client: Endpoint) -> bool:
        """False when nobody takes the connection there. True when it was taken, if only to be reset, or when
        the client does not want it any more."""
        family = socket.AF_INET6 if ":" in target.address else socket.AF_INET
        listeners = self._listeners.get(target.port, frozenset())
        try:
            connection = await self._child.make_socket(family)
            shown = shown_client(client, target, self._child.addresses) if self._child.shows_clients else None
            try:
                await in_asyncio(self._connect_and_join, connection, target, shown, stream)
            except SourceTaken:  # the client has called another pod of ours, or a minute ago, from that port
                connection = await self._child.make_socket(family)
                shown = None if shown is None else Endpoint(shown.address, 0)
                await in_asyncio(self._connect_and_join, connection, target, shown, stream)
        except ConnectionResetError:
            if not self._reset_by_child(target, listeners):
                return False
            stream.accept()
            stream.abort(errno.ECONNRESET)
        except OSError as error:
            log.debug("the child does not take a connection at %s port %s: %s", *target, error)
            return stream.is_closing()
        return True

    def _reset_by_child(self, target: Endpoint, listeners: frozenset[int]) -> bool:
        """Whether a reset before anything was sent is the child's own word, and not that of the end of one of
        its `listeners`, or of outbound, to which the connection fell through."""
        if self._child.diagnosis is not None:
            return bool(listeners) and listeners <= self._listeners_now().get(target.port, frozenset())
        if is_loopback(target.address):
            self._look()
        return target.port in self._listening

    async def _connect_and_join(
        self, connection: socket.socket, target: Endpoint, shown: Endpoint | None, stream: MuxStream
    ) -> None:
        """asyncio. Takes over the socket whatever happens, the stream once the child has the connection."""
        try:
            ours = begin_connecting(connection, target, shown)
        except BaseException:
            reset_socket(connection)
            raise
        self._made[ours] += 1
        try:
            await wait_connected(connection)
            held = await self._joints.hold(connection)
            try:
                if self._handover is not None:
                    await self._handover.accepted(connection, target, stream.is_closing)
            except BaseException:
                reset(held.transport)
                raise
        except BaseException:
            self._forget(ours)
            raise
        stream.accept()
        splice = self._joints.held_to_stream(held, stream)
        splice.done.add_done_callback(lambda _: self._ended(ours, target))

    def _forget(self, ours: Endpoint) -> None:
        self._made[ours] -= 1
        if not self._made[ours]:
            del self._made[ours]

    def _ended(self, ours: Endpoint, target: Endpoint) -> None:
        self._forget(ours)
        if self._handover is not None and not self._closed:
            self._handover.may_accept_next(target)
