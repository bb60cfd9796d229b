"""A tunnel without SSH, pod or cluster: the laptop's real half, over a wire in memory, to a pod that is
this process.

What the pod dials is dialled from this host; what arrives in it comes through `arrive`. `FakePod` tells
what the laptop asked for, can cut the link for a time, and can end.
"""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import Callable
from dataclasses import replace
from itertools import takewhile

from telepresence_py.model.network import PodFacts
from telepresence_py.tunnel.live import LiveTunnel
from telepresence_sidecar.contract.frames import Kind, Opening
from telepresence_sidecar.contract.link import LinkGone
from telepresence_sidecar.contract.messages import (
    Goodbye,
    HandedOver,
    HandOver,
    Leave,
    Listening,
    Ready,
    from_json,
    to_json,
)
from telepresence_sidecar.contract.mux import Mux
from telepresence_sidecar.contract.names import Inquiry
from telepresence_sidecar.contract.stream import MuxStream
from telepresence_sidecar.outbound import connect, datagrams
from telepresence_sidecar.resolve import NO_SUCH_NAME
from telepresence_sidecar.sending import send_files
from tests.fakes.wire import MuxPair

FACTS = PodFacts(
    version="0.1.0",
    hostname="orders-abc-tp-0",
    addresses=("10.1.2.3", "fd00::3"),
    environment={"ORDERS": "yes"},
    resolv_conf="nameserver 10.0.0.10\n",
    hosts="10.1.2.3 orders-abc-tp-0\n",
)

_SERVE = {Kind.TCP: connect, Kind.UDP: datagrams, Kind.FILES: send_files}


class FakePod:
    """`answers` maps DNS messages to answers; without one the query times out. `arrivals` wait until their
    port is in `listening`. Without `knows_states` its image is one that cannot tell of renewed volumes, nor
    let the laptop work on others."""

    def __init__(self, knows_states: bool = True) -> None:
        self._knows_states = knows_states
        self.answers: Callable[[bytes], bytes | None] = lambda query: None
        self.listening: frozenset[int] = frozenset()
        self.ready = False
        self.originals: tuple[str, ...] = ()
        self.left = False
        pair = MuxPair()
        self.mux: Mux = pair.pod
        self.laptop_mux: Mux = pair.laptop
        self._pair = pair
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: list[tuple[Opening, Callable[[MuxStream], None]]] = []
        pair.on_open_at_pod = self._opened
        pair.on_message_at_pod = self._heard

    def tunnel(self) -> LiveTunnel:
        """The laptop's half; one per pod."""
        tunnel = LiveTunnel()
        self._pair.on_open_at_laptop = tunnel.on_open
        self._pair.on_message_at_laptop = tunnel.on_message
        self._pair.on_laptop_link = lambda up: tunnel.on_link_up() if up else tunnel.on_link_down()
        if self._pair.laptop_link.up:
            tunnel.on_link_up()
        tunnel.begin(self.laptop_mux, FACTS, {}, lambda: [self._pair.laptop_link])
        return tunnel

    def arrive(self, port: int, taken: Callable[[MuxStream], None], peer: tuple[str, int]) -> None:
        """A connection to the pod; `taken(stream)` is called once the laptop has accepted it."""
        self._waiting.append((Opening(Kind.INBOUND, peer[0], port, peer_port=peer[1]), taken))
        self._offer()

    def cut(self) -> None:
        """The pod ends."""
        self.mux.abort()
        if not self._pair.laptop_link.up:
            self._pair.laptop_link.fail(LinkGone())

    def cut_link(self) -> None:
        """Nothing dials until `mend_link`."""
        self._pair.cut()

    def mend_link(self) -> None:
        self._pair.connect()

    def _offer(self) -> None:
        waiting, self._waiting = self._waiting, []
        for opening, taken in waiting:
            if opening.port in self.listening:
                self._offer_one(opening, taken)
            else:
                self._waiting.append((opening, taken))

    def _offer_one(self, opening: Opening, taken: Callable[[MuxStream], None]) -> None:
        stream = self.mux.open(opening)

        def answered(opened: asyncio.Future[int]) -> None:
            if opened.result() == 0:
                taken(stream)
            elif not self.mux.lost.done():
                self._waiting.append((opening, taken))
                self.mux.loop.call_later(0.05, self._offer)

        stream.opened.add_done_callback(answered)

    def _heard(self, fields: dict[str, object]) -> None:
        message = from_json(fields)
        if isinstance(message, Listening):
            self.listening = frozenset(message.ports)
            self._offer()
        elif isinstance(message, Ready):
            self.ready = message.ready
        elif isinstance(message, HandOver):
            self.originals = tuple(message.addresses)
            self.mux.send_message(to_json(HandedOver()))
        elif isinstance(message, Leave):
            self.left = True
            self.mux.send_message(to_json(Goodbye()))

    def _opened(self, stream: MuxStream) -> None:
        kind = stream.opening.kind
        if kind is Kind.DNS:
            self._answer(stream)
        else:
            if kind is Kind.FILES and not self._knows_states:
                stream.opening = _without_state(stream.opening)
            task = self.mux.loop.create_task(_SERVE[kind](stream))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _answer(self, stream: MuxStream) -> None:
        inquiry = Inquiry.of(stream.opening)
        queries = inquiry.queries() if len(inquiry.query) >= 12 else ()
        answers = list(takewhile(lambda answer: answer is not None, map(self.answers, queries)))
        if not answers:
            stream.refuse(errno.ETIMEDOUT)
            return
        for answer in answers:
            assert answer is not None
            stream.write(answer)
            if answer[3] & 0xF != NO_SUCH_NAME:
                break
        stream.close()


def _without_state(opening: Opening) -> Opening:
    request = json.loads(opening.rest)
    request.pop("unlike", None)
    request.pop("operations", None)
    return replace(opening, rest=json.dumps(request).encode())
