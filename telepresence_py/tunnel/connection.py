"""Opening a tunnel: dial, SSH with this session's key, pin the host key, one channel, hello. And again, when
the connection breaks: the link, and with it all that lives through the tunnel, outlives it.

Nothing of the user's own SSH is read: no ~/.ssh, no agent, no configuration, no known hosts.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from telepresence_py.model.errors import ClusterUnreachable, PreconditionFailed, TelepresenceError
from telepresence_py.model.network import PodFacts, WebSocketTarget
from telepresence_py.tunnel.bridge import in_asyncio
from telepresence_py.tunnel.calling import Caller, Connect
from telepresence_py.tunnel.interface import Tunnel
from telepresence_py.tunnel.keys import SessionKey
from telepresence_py.tunnel.line import FIRST_RETRY, LONGEST_RETRY, Line
from telepresence_py.tunnel.live import LiveTunnel
from telepresence_py.tunnel.websocket import DialFailed, connect
from telepresence_sidecar.contract import PROTOCOL
from telepresence_sidecar.contract.claim import bulk_name
from telepresence_sidecar.contract.messages import Hello, from_json
from telepresence_sidecar.contract.mux import Mux

CLOSE_SECONDS = 1.0

ANOTHER_SECONDS = 30.0
"""Until a second connection that could not be had is tried again."""


@asynccontextmanager
async def open_tunnel(
    dial: Callable[[], WebSocketTarget],
    key: SessionKey,
    host_fingerprint: str,
    deadline_seconds: float,
    patience_seconds: float = 0.0,
) -> AsyncIterator[Tunnel]:
    """A tunnel to the sidecar whose log told `host_fingerprint` (`SHA256:...`), for the length of the block.

    Under trio, in `bridge.run`. `dial` is asked anew for each try, in a worker thread, as it may block.
    Failed dials are repeated until `deadline_seconds` have passed. Raises ClusterUnreachable, NoRights,
    SessionLost (the pod is gone), PreconditionFailed (a sidecar of another protocol), InternalError (another
    host key, or the key refused). A link that breaks is dialled again for `patience_seconds`, unless the pod
    is gone. Leaving the block ends it; `Tunnel.leave` beforehand says goodbye.
    """

    async def connect_once(factory: Callable[[], asyncio.Protocol]) -> asyncio.Protocol:
        return await connect(await asyncio.to_thread(dial), factory)

    async with open_tunnel_over(
        connect_once, key, host_fingerprint, deadline_seconds, patience_seconds
    ) as tunnel:
        yield tunnel


@asynccontextmanager
async def open_tunnel_over(
    connect_once: Connect,
    key: SessionKey,
    host_fingerprint: str,
    deadline_seconds: float,
    patience_seconds: float = 0.0,
) -> AsyncIterator[Tunnel]:
    """The same over any byte transport."""

    def new_client() -> _Client:
        return _Client(lambda: Caller(connect_once, key, host_fingerprint), patience_seconds)

    client, pause = new_client(), FIRST_RETRY
    last_error: TelepresenceError | None = None
    try:
        with trio.move_on_after(deadline_seconds):
            while not client.begun:
                try:
                    await in_asyncio(client.begin)
                except DialFailed as failed:
                    last_error = failed.error
                    client.cut()
                    client = new_client()  # whatever the sidecar knows of the other it may forget
                    await trio.sleep(pause)
                    pause = min(2 * pause, LONGEST_RETRY)
        if not client.begun:
            raise last_error or ClusterUnreachable(
                f"the sidecar did not answer within {deadline_seconds:g} seconds; see the pod's log"
            )
        yield client.tunnel
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_SECONDS):
            await in_asyncio(client.close)
        client.cut()


class _Client:
    """Once it has begun `tunnel` is there, and its links are kept up. `close` ends it."""

    def __init__(self, new_caller: Callable[[], Caller], patience_seconds: float) -> None:
        self.tunnel = LiveTunnel()
        self.begun = False
        self._new_caller = new_caller
        self._patience_seconds = patience_seconds
        self._hello: asyncio.Future[Hello] = asyncio.get_running_loop().create_future()
        self._first = Line(new_caller(), secrets.token_hex(8), patience_seconds, self._changed)
        self._lines = [self._first]
        self._widening: asyncio.Task[None] | None = None
        self._mux = Mux(self._first.link, 1, self.tunnel.on_open, self._heard)
        self._mux.on_much = self._widen
        self._first.carry(self._mux.first_lane)

    async def begin(self) -> None:
        """One try, under asyncio. DialFailed when another may help."""
        await self._first.begin(self._hello)
        greeting = self._hello.result()
        _check_protocol(greeting)
        facts, unserved = _parse(greeting)
        self.tunnel.begin(self._mux, facts, unserved, lambda: [line.link for line in self._lines])
        self.begun = True
        self._first.keep_up()

    async def close(self) -> None:
        """Ends it, and waits until that is done."""
        if self._widening is not None:
            self._widening.cancel()
            await asyncio.wait([self._widening])
        self._mux.abort()
        for line in self._lines:
            await line.close()

    def cut(self) -> None:
        self._mux.abort()
        for line in self._lines:
            line.cut()

    # --- inside ----------------------------------------------------------------------------------------

    def _heard(self, fields: dict[str, object]) -> None:
        if self._hello.done():
            self.tunnel.on_message(fields)
        else:
            self._hello.set_result(_hello(fields))

    def _changed(self) -> None:
        if all(line.link.up for line in self._lines):
            self.tunnel.on_link_up()
        else:
            self.tunnel.on_link_down()

    def _widen(self) -> None:
        """There is much to carry: a second connection takes it, so that nothing else stands behind it."""
        if self.begun and self._widening is None:
            self._widening = asyncio.get_running_loop().create_task(self._add_line())

    async def _add_line(self) -> None:
        """Tried once in a while: the first line does for everything."""
        first = self._first.link
        line = Line(self._new_caller(), bulk_name(first.name), self._patience_seconds, self._changed, first)
        lane = self._mux.new_lane(line.link)
        line.carry(lane)
        try:
            await line.begin()
        except (TelepresenceError, DialFailed):
            line.cut()
            await asyncio.sleep(ANOTHER_SECONDS)
            self._widening = None
            return
        except BaseException:
            line.cut()
            raise
        self._lines.append(line)
        self._mux.use(lane)
        line.keep_up()


def _hello(fields: dict[str, object]) -> Hello:
    """Of another protocol nothing but `protocol` is relied on."""
    if fields.get("protocol") != PROTOCOL:
        return Hello(protocol=int(str(fields.get("protocol", 0))), facts={}, unserved={})
    message = from_json(fields)
    assert isinstance(message, Hello)
    return message


def _check_protocol(hello: Hello) -> None:
    if hello.protocol != PROTOCOL:
        raise PreconditionFailed(
            f"the sidecar image speaks protocol {hello.protocol}, this program {PROTOCOL}; build the"
            " matching image with `telepresence-py sidecar build`, or name one with --image"
        )


def _parse(hello: Hello) -> tuple[PodFacts, dict[str, str]]:
    facts: dict[str, Any] = dict(hello.facts)
    facts["addresses"] = tuple(facts["addresses"])
    return PodFacts(**facts), dict(hello.unserved)
