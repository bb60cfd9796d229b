"""What the sidecar does for its client: streams and messages of the mux go from here to who serves them."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Coroutine
from typing import Any

from .contract import CONNECTED_LOG_PREFIX, LOST_LOG_PREFIX, PROTOCOL
from .contract.claim import bulk_name, is_bulk, parse_claim
from .contract.frames import FrameType, Kind, ProtocolError, encode, encode_message
from .contract.heartbeat import SILENCE, LinkSilent
from .contract.link import Leg, Link, Pipe
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
from .contract.mux import Mux
from .contract.stream import MuxStream
from .facts import read_facts, read_resolv_conf
from .health import Health
from .inbound import Inbound
from .lifetime import Lifetime
from .log import Log
from .outbound import connect, datagrams
from .resolve import Servers, answer_names, nameservers
from .sending import send_files

MEMORY = 16 << 20
"""Bytes by which all receive windows together may grow: a LimitRange may leave the container 64 MiB."""


class Service:
    """One client at a time; the newest wins, as an older one may be half dead. While its link is down what
    lives through it waits, for as long as the sidecar lives without a client."""

    def __init__(self, inbound: Inbound, health: Health, lifetime: Lifetime, log: Log) -> None:
        self.unserved: dict[str, str] = {}
        self._inbound = inbound
        self._health = health
        self._lifetime = lifetime
        self._log = log
        self._mux: Mux | None = None
        self._link: Link | None = None
        self._bulk: Link | None = None
        self._connected = False
        self._tasks: set[asyncio.Task[None]] = set()
        lifetime.forsake = self.detach

    def attach(self, pipe: Pipe, claim: str | None) -> Leg | None:
        """The pipe of a client that has proved who it is, and what it claims to go on with; the caller gives
        the leg to the pipe. None when the pipe carries nothing: what there is to say has been said on it."""
        if claim is None:  # of a version without links, which reads as far as the protocol's number
            pipe.write(encode_message(self._hello()))
            return None
        try:
            name, received = parse_claim(claim)
            for link in (self._link, self._bulk):
                if link is not None and link.name == name:
                    return link.resume(pipe, received)
            if self._link is not None and self._mux is not None and name == bulk_name(self._link.name):
                return self._new_lane(self._mux, name).resume(pipe, received)
            if received or is_bulk(name):
                raise ProtocolError("a link that is not known")
        except ValueError:
            pipe.write(encode(FrameType.GONE, 0))
            return None
        return self._new_client(name).resume(pipe, 0)

    def _new_client(self, name: str) -> Link:
        replaced, self._mux, self._link, self._bulk = self._mux, None, None, None
        if replaced is not None:
            replaced.abort()
        link = Link(name, lambda: self._up(mux), lambda reason: self._down(mux, reason))
        mux = Mux(link, 2, self._opened, lambda fields: self._heard(mux, fields), memory=MEMORY)
        link.carry(mux.first_lane)
        self._mux, self._link = mux, link
        mux.lost.add_done_callback(lambda lost: self._lost(mux, lost.result()))
        self._inbound.client(mux)
        mux.send_message(self._hello())
        return link

    def _new_lane(self, mux: Mux, name: str) -> Link:
        """The client wants another for what is much; whether it is there is told by its first."""
        link = self._bulk = Link(name, beside=self._link)
        lane = mux.new_lane(link)
        link.carry(lane)
        mux.use(lane)
        return link

    def _hello(self) -> dict[str, object]:
        return to_json(Hello(PROTOCOL, read_facts(), self.unserved))

    def _up(self, mux: Mux) -> None:
        self._connected = True
        self._log.of_session(CONNECTED_LOG_PREFIX)
        self._lifetime.client_came()
        self._inbound.go_on()

    def _down(self, mux: Mux, reason: Exception | None) -> None:
        """It may be dialled again, unless its client has said goodbye."""
        if mux is not self._mux:
            mux.abort()
            return
        self._inbound.wait()
        self._client_lost(reason)

    def detach(self) -> None:
        """Cut the client off."""
        if self._mux is not None:
            self._mux.abort()

    def _lost(self, mux: Mux, reason: Exception | None) -> None:
        if mux is not self._mux:  # replaced, or it said goodbye
            return
        assert self._link is not None
        self._mux = self._link = self._bulk = None
        self._inbound.client(None)
        self._client_lost(reason)

    def _client_lost(self, reason: Exception | None) -> None:
        if not self._connected:  # its link was down already
            return
        self._connected = False
        self._log.of_session(f"{LOST_LOG_PREFIX} ({reason or 'link closed'})")
        self._lifetime.client_lost(SILENCE if isinstance(reason, LinkSilent) else 0.0)

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
        self._mux = self._link = self._bulk = None
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
            self._spawn(answer_names(stream, Servers(nameservers(read_resolv_conf()))))
        elif kind is Kind.FILES:
            self._spawn(send_files(stream))
        else:
            stream.refuse(errno.EOPNOTSUPP)

    def _spawn(self, serving: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(serving)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
