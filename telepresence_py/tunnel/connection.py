"""Opening a tunnel: dial, SSH with this session's key, pin the host key, one channel, hello. And again, when
the connection breaks: the link, and with it all that lives through the tunnel, outlives it.

Nothing of the user's own SSH is read: no ~/.ssh, no agent, no configuration, no known hosts.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import trio
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from telepresence_py.model.errors import (
    ClusterUnreachable,
    InternalError,
    NoRights,
    PreconditionFailed,
    SessionLost,
    TelepresenceError,
)
from telepresence_py.model.network import PodFacts, WebSocketTarget
from telepresence_py.tunnel.bridge import in_asyncio
from telepresence_py.tunnel.interface import Tunnel
from telepresence_py.tunnel.keys import SessionKey
from telepresence_py.tunnel.live import LiveTunnel
from telepresence_py.tunnel.websocket import DialFailed, PortForwardBroken, connect
from telepresence_sidecar.contract import LINK_VARIABLE, PROTOCOL, SSH_USER, SUBSYSTEM
from telepresence_sidecar.contract.lean_ssh import load_asyncssh
from telepresence_sidecar.contract.link import Leg, Link, LinkGone
from telepresence_sidecar.contract.messages import Hello, from_json
from telepresence_sidecar.contract.mux import Mux
from telepresence_sidecar.contract.ssh_wire import CHANNEL_WINDOW, MAX_PACKET, ChannelWire, SshWire

load_asyncssh()
import asyncssh  # noqa: E402

Connect = Callable[[Callable[[], asyncio.Protocol]], Awaitable[asyncio.Protocol]]
"""connect(protocol_factory): an asyncio coroutine function that opens a byte transport with such a
protocol."""

CLOSE_SECONDS = 1.0
FIRST_RETRY, LONGEST_RETRY = 0.05, 1.0
TRY_SECONDS, TRY_ROUND_TRIPS = 5.0, 20
"""One dial of a link that was lost takes at most so long, or so many round trips on a long way."""


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
    line = _Line(_Caller(connect_once, key, host_fingerprint), patience_seconds)
    try:
        with trio.move_on_after(deadline_seconds):
            await _repeat(line)
        if not line.begun:
            raise line.last_error or ClusterUnreachable(
                f"the sidecar did not answer within {deadline_seconds:g} seconds; see the pod's log"
            )
        yield line.tunnel
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_SECONDS):
            await in_asyncio(line.close)
        line.cut()


async def _repeat(line: _Line) -> None:
    pause = FIRST_RETRY
    while True:
        try:
            await in_asyncio(line.begin)
            return
        except DialFailed as failed:
            line.last_error = failed.error
            await trio.sleep(pause)
            pause = min(2 * pause, LONGEST_RETRY)


class _Session(ChannelWire, asyncssh.SSHClientSession[bytes]):
    """The subsystem's channel."""

    new_cipher = AESGCM


class _Pinned(asyncssh.SSHClient):
    """Trusts one host key."""

    def __init__(self, fingerprint: str) -> None:
        self._fingerprint = fingerprint

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        return hmac.compare_digest(key.get_fingerprint("sha256"), self._fingerprint)


class _Dialler:
    """Gives asyncssh its connection through SshWire; asyncssh takes it for a tunnel to connect through."""

    def __init__(self, connect_once: Connect) -> None:
        self._connect_once = connect_once

    async def create_connection(self, factory: Any, host: str, port: int) -> tuple[None, Any]:
        ssh = factory()
        await self._connect_once(lambda: SshWire(ssh))
        return None, ssh


class _Caller:
    """Makes SSH connections to one sidecar, one at a time."""

    def __init__(self, connect_once: Connect, key: SessionKey, host_fingerprint: str) -> None:
        self._connect_once = connect_once
        self._key = key
        self._host_fingerprint = host_fingerprint
        self._connection: asyncssh.SSHClientConnection | None = None

    def cut(self) -> None:
        if self._connection is not None:
            self._connection.abort()

    async def wait_closed(self) -> None:
        if self._connection is not None:
            await self._connection.wait_closed()

    async def call(self, claim: Callable[[], str]) -> _Session:
        """The subsystem's channel, after what was there before is cut."""
        self.cut()
        self._connection = connection = await asyncssh.connect(
            "pod",
            tunnel=_Dialler(self._connect_once),
            client_factory=lambda: _Pinned(self._host_fingerprint),
            username=SSH_USER,
            client_keys=[asyncssh.import_private_key(self._key.private_pem())],
            known_hosts=([], [], []),
            config=None,
            agent_path=None,
            preferred_auth="publickey",
            server_host_key_algs=["ssh-ed25519"],
            kex_algs=["curve25519-sha256"],
            encryption_algs=["aes128-gcm@openssh.com"],
            compression_algs=["none"],
            x509_trusted_certs=None,
            gss_kex=False,
            gss_auth=False,
        )
        session = _Session()
        await connection.create_session(
            lambda: session,
            subsystem=SUBSYSTEM,
            env={LINK_VARIABLE: claim()},
            encoding=None,
            window=CHANNEL_WINDOW,
            max_pktsize=MAX_PACKET,
        )
        return session


class _Line:
    """One link, and the calls that carry it: `begin` until it succeeds, then it keeps it up by itself, as
    long as its patience lasts. `close` ends it."""

    def __init__(self, caller: _Caller, patience_seconds: float) -> None:
        self.tunnel = LiveTunnel()
        self.begun = False
        self.last_error: TelepresenceError | None = None
        self._caller = caller
        self._patience_seconds = patience_seconds
        self._hello: asyncio.Future[Hello] = asyncio.get_running_loop().create_future()
        self._redialling: asyncio.Task[None] | None = None
        self._link = Link(secrets.token_hex(8), self.tunnel.on_link_up, self._went_down)
        self._mux = Mux(self._link, 1, self.tunnel.on_open, self._heard)
        self._link.carry(self._mux)

    async def begin(self) -> None:
        """One try, under asyncio. DialFailed when another may help."""
        leg = await self._call()
        await self._wait(leg, self._hello)
        greeting = self._hello.result()
        _check_protocol(greeting)
        facts, unserved = _parse(greeting)
        self.tunnel.begin(self._mux, facts, unserved)
        self.begun = True
        if not self._link.up:
            self._went_down(None)

    async def close(self) -> None:
        """Ends it, and waits until that is done."""
        self.begun = False
        if self._redialling is not None:
            self._redialling.cancel()
            await asyncio.wait([self._redialling])
        self._mux.abort()
        await self._caller.wait_closed()

    def cut(self) -> None:
        self._mux.abort()
        self._caller.cut()

    # --- inside ----------------------------------------------------------------------------------------

    async def _call(self) -> Leg:
        """A pipe for the link."""
        with _as_ours():
            session = await self._caller.call(lambda: self._link.claim)
        leg = self._link.attach(session)
        session.carry(leg)
        return leg

    async def _wait(self, leg: Leg, wanted: asyncio.Future[Any]) -> None:
        await asyncio.wait((wanted, leg.ended), return_when=asyncio.FIRST_COMPLETED)
        if wanted.done():
            return
        lost = self._mux.lost if self._mux.lost.done() else leg.ended
        with _as_ours():
            raise lost.result() or ConnectionResetError("the sidecar hung up")

    def _heard(self, fields: dict[str, object]) -> None:
        if self._hello.done():
            self.tunnel.on_message(fields)
        else:
            self._hello.set_result(_hello(fields))

    def _went_down(self, reason: Exception | None) -> None:
        self.tunnel.on_link_down()
        if self.begun and (self._redialling is None or self._redialling.done()):
            self._redialling = asyncio.get_running_loop().create_task(self._redial())

    async def _redial(self) -> None:
        """Until the link is up again; it fails when that takes too long or will never be."""
        pause = FIRST_RETRY
        try:
            async with asyncio.timeout(self._patience_seconds):
                while not self._link.up:
                    with suppress(DialFailed, ClusterUnreachable, NoRights, PreconditionFailed, TimeoutError):
                        await self._dial_again()
                        continue
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, LONGEST_RETRY)
        except TimeoutError:
            self._link.fail(ConnectionResetError(f"not reached again in {self._patience_seconds:g} s"))
        except TelepresenceError as error:
            self._link.fail(ConnectionResetError(str(error)))

    async def _dial_again(self) -> None:
        async with asyncio.timeout(max(TRY_SECONDS, TRY_ROUND_TRIPS * self._mux.round_trip)):
            leg = await self._call()
            await self._wait(leg, leg.begun)


@contextmanager
def _as_ours() -> Iterator[None]:
    """What a call may raise, as an error of ours: DialFailed when another may help."""
    try:
        yield
    except LinkGone as error:
        raise SessionLost("the sidecar has ended this session's link: its connections are lost") from error
    except PortForwardBroken as error:
        raise DialFailed(ClusterUnreachable(_BROKEN.format(error))) from error
    except asyncssh.HostKeyNotVerifiable as error:
        raise InternalError(
            "the sidecar shows another host key than its log told, so the tunnel was not opened; "
            "somebody may be in between, or the pod restarted: swap again"
        ) from error
    except asyncssh.PermissionDenied as error:
        raise InternalError(
            "the sidecar does not know this session's key; it belongs to another session: swap again"
        ) from error
    except (asyncssh.Error, OSError) as error:
        raise DialFailed(ClusterUnreachable(_BROKEN.format(error or type(error).__name__))) from error


_BROKEN = "the tunnel to the sidecar could not be opened ({}); see the pod's log"


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


def _parse(hello: Hello) -> tuple[PodFacts, dict[int, str]]:
    facts: dict[str, Any] = dict(hello.facts)
    facts["addresses"] = tuple(facts["addresses"])
    return PodFacts(**facts), {int(port): reason for port, reason in hello.unserved.items()}
