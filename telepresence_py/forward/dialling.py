"""The far leg of a held connection: dialled before the child's connect() succeeds, joined after."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from telepresence_py.forward.choosing import ChooseTunnel, next_tunnel
from telepresence_py.forward.joining import Joints, reset_socket
from telepresence_py.forward.packets import Endpoint
from telepresence_py.system import tcp_socket
from telepresence_py.tunnel.interface import MuxStream, Tunnel

log = logging.getLogger(__name__)

LAPTOP_DEADLINE = 10.0
"""Seconds for connecting to a port of the laptop's loopback."""

SYSTEM_DEADLINE = 300.0
"""Seconds for connecting to elsewhere from the laptop: the kernel gives up sooner, in its own time."""

SAME_PLACE = {"::1": "127.0.0.1", "127.0.0.1": "::1"}
"""`localhost` has two addresses. A child to which ::1 seemed to answer will not try the other by itself."""

OnAnswer = Callable[[int], None]


class Dial(Protocol):
    """One far leg. `start(on_answer)` begins; `on_answer(errno)` is called once, later, with 0 when the leg
    stands; not after `end`, which ends it at any time. `join` gives it to the accepted connection."""

    def start(self, on_answer: OnAnswer) -> None: ...

    def end(self) -> None: ...

    def join(self, connection: socket.socket) -> None: ...


class _TaskDial:
    """Dials in a task; `_answer` is for whoever has what it came to."""

    def __init__(self, joints: Joints) -> None:
        self._joints = joints
        self._on_answer: OnAnswer | None = None
        self._task: asyncio.Task[None] | None = None

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        self._task = asyncio.get_running_loop().create_task(work)

    def _answer(self, error: int) -> None:
        if self._on_answer is not None:
            on_answer, self._on_answer = self._on_answer, None
            on_answer(error)

    def _stop(self) -> None:
        self._on_answer = None
        if self._task is not None:
            self._task.cancel()


class PodDial(_TaskDial):
    """From the pod to `destination`, in a stream that the request to connect opens: one round trip."""

    def __init__(self, joints: Joints, choose_tunnel: ChooseTunnel, destination: Endpoint) -> None:
        super().__init__(joints)
        self._choose_tunnel = choose_tunnel
        self._destination = destination
        self._stream: MuxStream | None = None

    def start(self, on_answer: OnAnswer) -> None:
        self._on_answer = on_answer
        tunnel = self._choose_tunnel()
        if tunnel is None:
            self._run(self._open_later())
        else:
            self._open(tunnel)

    def end(self) -> None:
        self._stop()
        if self._stream is not None:
            self._stream.abort(errno.ECONNABORTED)

    def join(self, connection: socket.socket) -> None:
        assert self._stream is not None
        self._joints.start(self._joints.to_stream(connection, self._stream))

    def _open(self, tunnel: Tunnel) -> None:
        self._stream = tunnel.open(self._destination.address, self._destination.port)
        self._stream.opened.add_done_callback(lambda opened: self._answer(opened.result()))

    async def _open_later(self) -> None:
        """The session has no pod for a moment."""
        try:
            self._open(await next_tunnel(self._choose_tunnel))
        except OSError as error:
            self._answer(error.errno or errno.ENETDOWN)


class LaptopDial(_TaskDial):
    """From the laptop to `destination`, within `deadline` seconds."""

    def __init__(self, joints: Joints, destination: Endpoint, deadline: float = LAPTOP_DEADLINE) -> None:
        super().__init__(joints)
        self._destination = destination
        self._deadline = deadline
        self._dialled: socket.socket | None = None

    def start(self, on_answer: OnAnswer) -> None:
        self._on_answer = on_answer
        self._run(self._dial())

    def end(self) -> None:
        self._stop()
        if self._dialled is not None:
            reset_socket(self._dialled)

    def join(self, connection: socket.socket) -> None:
        assert self._dialled is not None
        self._joints.start(self._joints.to_socket(connection, self._dialled))

    async def _dial(self) -> None:
        try:
            self._dialled = await connect_from_laptop(self._destination, self._deadline)
        except OSError as error:
            log.debug("nobody on the laptop at %s port %s: %s", *self._destination, error)
            self._answer(error.errno or errno.ETIMEDOUT)
        else:
            self._answer(0)


class Settled:
    """A leg that nobody dials: it is refused with that errno, or stands at once (0) and is joined by whoever
    serves the connection."""

    def __init__(self, error: int, serve: Callable[[socket.socket], None]) -> None:
        self._error = error
        self._serve = serve
        self._soon: asyncio.Handle | None = None

    def start(self, on_answer: OnAnswer) -> None:
        self._soon = asyncio.get_running_loop().call_soon(on_answer, self._error)

    def end(self) -> None:
        if self._soon is not None:
            self._soon.cancel()

    def join(self, connection: socket.socket) -> None:
        self._serve(connection)


async def connect_from_laptop(destination: Endpoint, deadline: float) -> socket.socket:
    """A connected, non-blocking socket of the laptop, to its loopback in either family; OSError, also when it
    takes longer than `deadline`, in seconds."""
    try:
        return await _connect(destination, deadline)
    except ConnectionRefusedError:
        if destination.address not in SAME_PLACE:
            raise
        other = destination._replace(address=SAME_PLACE[destination.address])
        return await _connect(other, deadline)


async def _connect(destination: Endpoint, deadline: float) -> socket.socket:
    family = socket.AF_INET6 if ":" in destination.address else socket.AF_INET
    dialled = tcp_socket(family)
    try:
        async with asyncio.timeout(deadline):
            await asyncio.get_running_loop().sock_connect(dialled, destination)
    except BaseException:
        dialled.close()
        raise
    return dialled
