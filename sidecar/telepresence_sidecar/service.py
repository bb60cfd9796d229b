"""What the sidecar does for its client: streams and messages of the mux go from here to who serves them."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Coroutine
from typing import Any

from .contract import CONNECTED_LOG_PREFIX, LOST_LOG_PREFIX, PROTOCOL
from .contract.frames import Kind, ProtocolError
from .contract.heartbeat import Heartbeat
from .contract.messages import (
    Goodbye,
    HandedOver,
    HandOver,
    Hello,
    Leave,
    Listening,
    Ready,
    from_json,
    to_json,
)
from .contract.mux import Mux, Wire
from .contract.stream import MuxStream
from .facts import read_facts, read_resolv_conf
from .health import Health
from .inbound import Inbound
from .lifetime import Lifetime
from .log import Log
from .outbound import connect, datagrams
from .resolve import nameservers, resolve
from .sending import send_files
from .sockets import errno_of

MEMORY = 16 << 20
"""Bytes by which all receive windows together may grow: a LimitRange may leave the container 64 MiB."""


class Service:
    """One client at a time; the newest wins, as an older one may be half dead."""

    def __init__(self, inbound: Inbound, health: Health, lifetime: Lifetime, log: Log) -> None:
        self.unserved: dict[int, str] = {}
        self._inbound = inbound
        self._health = health
        self._lifetime = lifetime
        self._log = log
        self._mux: Mux | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def attach(self, wire: Wire) -> Mux:
        """A client that has proved who it is. The caller feeds the mux."""
        replaced, self._mux = self._mux, None
        if replaced is not None:
            replaced.abort()
        mux = self._mux = Mux(wire, 2, self._opened, lambda fields: self._heard(mux, fields), memory=MEMORY)
        mux.lost.add_done_callback(lambda lost: self._lost(mux, lost.result()))
        self._log.of_session(CONNECTED_LOG_PREFIX)
        self._lifetime.client_came()
        self._inbound.client(mux)
        unserved = {str(port): reason for port, reason in self.unserved.items()}
        mux.send_message(to_json(Hello(PROTOCOL, read_facts(), unserved)))
        Heartbeat(mux).start()
        return mux

    def detach(self) -> None:
        """Cut the client off."""
        if self._mux is not None:
            self._mux.abort()

    def _lost(self, mux: Mux, reason: Exception | None) -> None:
        if mux is not self._mux:  # replaced, or it said goodbye
            return
        self._mux = None
        self._inbound.client(None)
        self._log.of_session(f"{LOST_LOG_PREFIX} ({reason or 'link closed'})")
        self._lifetime.client_lost()

    def _heard(self, mux: Mux, fields: dict[str, object]) -> None:
        message = from_json(fields)
        if mux is not self._mux:
            return
        if isinstance(message, Listening):
            self._inbound.listening(frozenset(message.ports))
        elif isinstance(message, Ready):
            self._health.ready = message.ready
        elif isinstance(message, HandOver):
            self._log.of_session(f"handing over to {', '.join(message.addresses)}")
            self._inbound.hand_over(message.addresses)
            self._lifetime.handed_over()
            mux.send_message(to_json(HandedOver()))
        elif isinstance(message, Leave):
            self._leave(mux)
        else:
            raise ProtocolError(f"{type(message).__name__} is not for the pod")

    def _leave(self, mux: Mux) -> None:
        self._mux = None
        self._inbound.client(None)
        self._log.of_session(f"{LOST_LOG_PREFIX} (it said goodbye)")
        mux.send_message(to_json(Goodbye()))
        mux.lost.add_done_callback(lambda _: self._lifetime.client_left())

    def _opened(self, stream: MuxStream) -> None:
        kind = stream.opening.kind
        if kind is Kind.TCP:
            self._spawn(connect(stream))
        elif kind is Kind.UDP:
            self._spawn(datagrams(stream))
        elif kind is Kind.DNS:
            self._spawn(_answer(stream))
        elif kind is Kind.FILES:
            self._spawn(send_files(stream))
        else:
            stream.refuse(errno.EOPNOTSUPP)

    def _spawn(self, serving: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(serving)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _answer(stream: MuxStream) -> None:
    """DNS: one request, one datagram."""
    try:
        servers = nameservers(read_resolv_conf())
        stream.write(await resolve(stream.opening.rest, servers))
        stream.close()
    except OSError as error:
        stream.refuse(errno_of(error))
