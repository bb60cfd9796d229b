"""The tunnel itself: what other rooms ask becomes streams and messages of the mux."""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import trio

from telepresence_py.model.errors import SessionLost
from telepresence_py.model.network import PodFacts
from telepresence_py.model.status import LinkStatus
from telepresence_py.tunnel.files import IncomingFiles
from telepresence_py.tunnel.interface import DatagramFlow, OnConnection, PodFiles
from telepresence_py.tunnel.operations import LiveOperations, operations_request
from telepresence_sidecar.contract.frames import Kind, Opening
from telepresence_sidecar.contract.link import Link
from telepresence_sidecar.contract.messages import (
    Goodbye,
    HandedOver,
    HandOver,
    Leave,
    Listening,
    Message,
    Ready,
    from_json,
    to_json,
)
from telepresence_sidecar.contract.mux import Mux
from telepresence_sidecar.contract.names import Inquiry
from telepresence_sidecar.contract.stream import MuxStream

RESOLVE_SECONDS = 20.0
"""Longer than the pod's own tries of several name servers."""


class LiveTunnel:
    """A Tunnel over a mux. Made before the mux, as the mux calls `on_open` and `on_message` and its link
    `on_link_up` and `on_link_down`; `begin` completes it."""

    facts: PodFacts

    def __init__(self) -> None:
        self.lost = trio.Event()
        self.link_up = trio.Event()
        self.link_down = trio.Event()
        self.unserved_ports: Mapping[str, str] = {}
        self._mux: Mux
        self._links: Callable[[], Sequence[Link]] = tuple
        self._on_connection: OnConnection = lambda stream, port, peer: stream.refuse(errno.ECONNREFUSED)
        self._on_flow: OnConnection = lambda stream, port, peer: stream.refuse(errno.ECONNREFUSED)
        self._handed_over = trio.Event()
        self._goodbye = trio.Event()

    def begin(
        self,
        mux: Mux,
        facts: PodFacts,
        unserved_ports: dict[str, str],
        links: Callable[[], Sequence[Link]],
    ) -> None:
        """`links` tells those that carry the mux, its first one first."""
        self._mux, self._links = mux, links
        self.facts = facts
        self.unserved_ports = unserved_ports
        mux.lost.add_done_callback(lambda _: self._ended())

    # --- the interface ---------------------------------------------------------------------------------

    def status(self) -> LinkStatus:
        links, now = self._links(), self._mux.loop.time()
        state = "lost" if self.lost.is_set() else "down" if self.link_down.is_set() else "up"
        return LinkStatus(
            state=state,
            round_trip=round(1000 * links[0].pace.round_trip, 3),
            heard_before=round(now - max(link.last_heard for link in links), 3),
            said_before=round(now - max(link.last_said for link in links), 3),
            reconnects=sum(max(0, link.legs - 1) for link in links),
            connections=self._mux.open_connections(),
            received=sum(link.received for link in links),
            sent=sum(link.sent for link in links),
        )

    def open(self, host: str, port: int, first: bytes = b"") -> MuxStream:
        return self._mux.open(Opening(Kind.TCP, host, port), first)

    def datagrams(
        self, host: str, port: int, on_datagram: Callable[[bytes], None], on_end: Callable[[int], None]
    ) -> DatagramFlow:
        return _Flow(self._mux.open(Opening(Kind.UDP, host, port)), on_datagram, on_end)

    async def resolve(self, inquiry: Inquiry, on_answer: Callable[[bytes], None]) -> None:
        stream = self._mux.open(inquiry.opening())
        answers = _Answers(on_answer)
        stream.set_protocol(answers)
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                await answers.ended
        except TimeoutError:
            raise OSError(errno.ETIMEDOUT, "the pod did not answer a DNS query") from None
        finally:
            stream.abort()

    def listen(self, on_connection: OnConnection) -> None:
        self._on_connection = on_connection

    def listen_datagrams(self, on_flow: OnConnection) -> None:
        self._on_flow = on_flow

    def set_listening(self, pod_ports: frozenset[int]) -> None:
        self._send(Listening(sorted(pod_ports)))

    def set_ready(self, ready: bool) -> None:
        self._send(Ready(ready))

    @asynccontextmanager
    async def files(
        self, path: str, max_bytes: int, max_files: int, unlike: str | None = None
    ) -> AsyncIterator[PodFiles]:
        request: dict[str, object] = {"path": path, "max_bytes": max_bytes, "max_files": max_files}
        if unlike is not None:
            request["unlike"] = unlike
        stream = self._mux.open(Opening(Kind.FILES, rest=json.dumps(request).encode()))
        incoming = IncomingFiles(stream)
        stream.set_protocol(incoming)
        try:
            await incoming.wait_report()
            yield incoming
        finally:
            stream.abort()

    async def operations(self, path: str) -> LiveOperations:
        stream = self._mux.open(Opening(Kind.FILES, rest=operations_request(path)))
        live = LiveOperations(stream)
        try:
            await live.wait_report()
        except BaseException:
            live.close()
            raise
        return live

    async def hand_over(self, pod_addresses: tuple[str, ...]) -> None:
        self._handed_over = trio.Event()
        self._send(HandOver(list(pod_addresses)))
        await self._handed_over.wait()
        if self.lost.is_set():
            raise SessionLost(
                "the link to the sidecar was lost while handing over; the originals serve again"
            )

    async def leave(self) -> None:
        if not self.lost.is_set():
            self._send(Leave())
            await self._goodbye.wait()
            self._mux.abort()
            await self.lost.wait()

    # --- what the mux and the link call ------------------------------------------------------------------

    def on_link_up(self) -> None:
        if not self.link_up.is_set():
            self.link_down = trio.Event()
            self.link_up.set()

    def on_link_down(self) -> None:
        if not self.link_down.is_set():
            self.link_up = trio.Event()
            self.link_down.set()

    def on_open(self, stream: MuxStream) -> None:
        opening = stream.opening
        if opening.kind is Kind.INBOUND:
            self._on_connection(stream, opening.port, (opening.host, opening.peer_port))
        elif opening.kind is Kind.INBOUND_UDP:
            self._on_flow(stream, opening.port, (opening.host, opening.peer_port))
        else:
            stream.refuse(errno.EOPNOTSUPP)

    def on_message(self, fields: dict[str, object]) -> None:
        message = from_json(fields)
        if isinstance(message, HandedOver):
            self._handed_over.set()
        elif isinstance(message, Goodbye):
            self._goodbye.set()

    def _send(self, message: Message) -> None:
        self._mux.send_message(to_json(message))

    def _ended(self) -> None:
        for event in (self.lost, self.link_down, self.link_up, self._handed_over, self._goodbye):
            event.set()


class _Flow(asyncio.Protocol):
    """A DatagramFlow, and the protocol of its stream."""

    def __init__(
        self, stream: MuxStream, on_datagram: Callable[[bytes], None], on_end: Callable[[int], None]
    ) -> None:
        self._stream = stream
        self._closed = False
        self._on_end = on_end
        self._on_datagram = on_datagram
        stream.set_protocol(self)

    def send(self, datagram: bytes) -> None:
        if not self._stream.is_closing():
            self._stream.write(datagram)

    def close(self) -> None:
        self._closed = True
        self._stream.close()

    def data_received(self, data: bytes) -> None:
        self._on_datagram(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._closed:
            self._on_end(getattr(exc, "errno", None) or errno.ECONNRESET)


class _Answers(asyncio.Protocol):
    """Hands on datagrams; `ended` fails when there was none."""

    def __init__(self, on_answer: Callable[[bytes], None]) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._on_answer = on_answer
        self._any = False

    def data_received(self, data: bytes) -> None:
        self._any = True
        self._on_answer(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.ended.done():
            return
        if self._any:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(exc or ConnectionResetError(errno.ECONNRESET, "the tunnel was lost"))
