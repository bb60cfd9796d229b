"""What the child listens on, on the laptop's loopback under the same port.

A port is listened on here for as long as the child listens on it there, so who calls in between is refused by
the kernel, as by any program that does not run. Ports that were asked for are taken before the child starts,
and stay taken. Connections are made inside to loopback, where what the child does not take any more falls
through to the laptop's (see outbound): `made` tells outbound which are ours, lest they go round in a circle.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import trio

from telepresence_py.forward.inbound import ChildNetwork
from telepresence_py.forward.joining import Joints, reset_socket
from telepresence_py.forward.laptop_port import LaptopPort
from telepresence_py.forward.packets import Endpoint
from telepresence_py.forward.reaching import begin_connecting, wait_connected
from telepresence_py.forward.targets import Listening, is_loopback, loopback_targets
from telepresence_py.model.errors import PreconditionFailed, TelepresenceError
from telepresence_py.model.events import Event, Level, Report
from telepresence_py.model.intent import PublishedPort
from telepresence_py.tunnel.bridge import in_asyncio

log = logging.getLogger(__name__)

EPHEMERAL = range(32768, 61000)
"""What a fresh network namespace gives to who binds port 0 (ip_local_port_range of ip(7))."""

TakenPorts = Mapping[int, tuple[LaptopPort, ...]]
"""The child's ports that were asked for, each with those of the laptop that shall lead to it."""


@contextmanager
def taken_ports(asked: Iterable[PublishedPort]) -> Iterator[TakenPorts]:
    """What was asked for by `--publish`, the laptop's ports taken until the block ends. PreconditionFailed
    names the one that cannot be had."""
    taken: dict[int, tuple[LaptopPort, ...]] = {}
    try:
        for one in asked:
            try:
                laptop = LaptopPort(one.laptop_port)
            except OSError as error:
                raise PreconditionFailed(
                    f"--publish: {_why_not(one.laptop_port, error)}; {_another(one.child_port)}"
                ) from error
            taken[one.child_port] = (*taken.get(one.child_port, ()), laptop)
        yield taken
    finally:
        for laptops in taken.values():
            for laptop in laptops:
                laptop.close()


@asynccontextmanager
async def serve_published(
    nursery: trio.Nursery, child: ChildNetwork, taken: TakenPorts, others: bool, report: Report
) -> AsyncIterator[Published]:
    """Publishes what `Published.heard` is told of, in the caller's nursery, until the block ends, which
    resets every connection: the ports that are `taken`, which stay the caller's, and with `others` every
    other one under its own number."""
    published = Published(child, taken, others, report)
    scope = await nursery.start(published.run)
    try:
        yield published
    finally:
        scope.cancel()
        published.close()


class Published:
    """Made and ended by `serve_published`."""

    def __init__(self, child: ChildNetwork, taken: TakenPorts, others: bool, report: Report) -> None:
        self._child = child
        self._taken = taken
        self._others = others
        self._report = report
        self._listening: Listening = {}
        self._open: dict[int, tuple[LaptopPort, ...]] = {}
        self._told: set[str] = set()
        self._joints = Joints()
        self._made: set[Endpoint] = set()
        self._connections: trio.Nursery
        self._closed = False

    def __len__(self) -> int:
        """Connections that live."""
        return len(self._joints)

    def made(self, peer: Endpoint) -> bool:
        """Whether a connection that comes from there is one that we make to the child."""
        return peer in self._made

    async def run(self, *, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        """Connects until the scope that it reports is cancelled."""
        async with trio.open_nursery() as self._connections:
            task_status.started(self._connections.cancel_scope)
            await trio.sleep_forever()

    def close(self) -> None:
        """Every port is given back, or stays taken; living connections are reset."""
        self._closed = True
        for port in tuple(self._open):
            self._shut(port)
        self._joints.abort()

    # --- ports -----------------------------------------------------------------------------------------

    def heard(self, listening: Listening) -> None:
        """The child listens on these ports now. What is new of them on the laptop is told, once."""
        if self._closed:
            return
        addresses = self._child.addresses
        self._listening = {port: at for port, at in listening.items() if loopback_targets(at, addresses)}
        for port in self._open.keys() - self._listening.keys():
            self._shut(port)
        new = sorted(self._listening.keys() - self._open.keys())
        for port in new:
            self._open[port] = self._begin(port)
        for level in (Level.STEP, Level.DETAIL):
            ports = [port for port in new if self._level_of(port) is level]
            self._announce([(laptop.number, port) for port in ports for laptop in self._open[port]], level)

    def _begin(self, port: int) -> tuple[LaptopPort, ...]:
        """Those of the laptop's that lead there from now on."""
        laptops = self._taken[port] if port in self._taken else self._take(port)
        return tuple(laptop for laptop in laptops if self._listens(laptop, port))

    def _take(self, port: int) -> tuple[LaptopPort, ...]:
        if not self._others:
            return ()
        try:
            return (LaptopPort(port),)
        except OSError as error:
            self._tell_refused(port, port, error)
            return ()

    def _listens(self, laptop: LaptopPort, port: int) -> bool:
        try:
            laptop.listen(partial(self._arrived, port))
        except OSError as error:
            self._let_go(laptop, port)
            self._tell_refused(laptop.number, port, error)
            return False
        return True

    def _shut(self, port: int) -> None:
        for laptop in self._open.pop(port):
            self._let_go(laptop, port)

    def _let_go(self, laptop: LaptopPort, port: int) -> None:
        if port in self._taken:
            laptop.rest()
        else:
            laptop.close()

    # --- what is told ----------------------------------------------------------------------------------

    def _level_of(self, port: int) -> Level:
        """A program's port for its own parts, which the kernel chose, comes and goes unnoticed."""
        passing = port in EPHEMERAL and port not in self._taken
        return Level.DETAIL if passing and all(map(is_loopback, self._listening[port])) else Level.STEP

    def _announce(self, pairs: list[tuple[int, int]], level: Level) -> None:
        words = (f"localhost:{laptop}" + f" (its {port})" * (laptop != port) for laptop, port in pairs)
        new = [word for word in words if word not in self._told]
        if new:
            self._told.update(new)
            reach = "reaches" if len(new) == 1 else "reach"
            text = f"{', '.join(new)} on this laptop {reach} the command"
            self._report(Event("published", text, level, {"ports": dict(pairs)}))

    def _tell_refused(self, laptop_port: int, port: int, error: OSError) -> None:
        text = f"The command's port {port} is not published: {_why_not(laptop_port, error)}"
        if text in self._told:
            return
        self._told.add(text)
        if port in self._taken:
            level = Level.WARNING
        else:
            level = Level.NOTICE if self._level_of(port) is Level.STEP else Level.DETAIL
            text += f"; {_another(port)}"
        self._report(Event("not-published", text, level, {"port": port}))

    # --- connections -----------------------------------------------------------------------------------

    def _arrived(self, port: int, connection: socket.socket) -> None:
        if self._closed:
            reset_socket(connection)
        else:
            self._connections.start_soon(self._deliver, connection, port)

    async def _deliver(self, connection: socket.socket, port: int) -> None:
        """Takes over the connection, which is reset when nobody inside takes it."""
        try:
            for address in loopback_targets(self._listening.get(port, ()), self._child.addresses):
                if await self._joined(connection, Endpoint(address, port)):
                    return
        except TelepresenceError as error:  # the agent is gone, and the child with it
            log.debug("no socket in the child's world: %s", error)
        except BaseException:
            reset_socket(connection)
            raise
        reset_socket(connection)

    async def _joined(self, connection: socket.socket, target: Endpoint) -> bool:
        family = socket.AF_INET6 if ":" in target.address else socket.AF_INET
        try:
            inside = await self._child.make_socket(family)
            await in_asyncio(self._connect_and_join, connection, inside, target)
        except OSError as error:
            log.debug("the child does not take a connection at %s port %s: %s", *target, error)
            return False
        return True

    async def _connect_and_join(
        self, connection: socket.socket, inside: socket.socket, target: Endpoint
    ) -> None:
        """asyncio. Takes over the socket inside whatever happens, the connection once that stands."""
        try:
            ours = begin_connecting(inside, target)
        except BaseException:
            reset_socket(inside)
            raise
        self._made.add(ours)
        try:
            await wait_connected(inside)
            splice = await self._joints.to_socket(connection, inside)
        except BaseException:
            self._made.discard(ours)
            raise
        splice.done.add_done_callback(lambda _: self._made.discard(ours))


def _why_not(port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"another program has port {port} of this laptop's localhost"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"only root may listen on port {port} of this laptop"
    return f"port {port} of this laptop's localhost cannot be had ({os.strerror(error.errno or errno.EIO)})"


def _another(child_port: int) -> str:
    number = child_port + 10000 if child_port + 10000 < 65536 else child_port - 10000
    return f"choose another, for example --publish {number}:{child_port}"
