"""Opening a tunnel: dial, SSH with this session's key, pin the host key, one channel, hello.

Nothing of the user's own SSH is read: no ~/.ssh, no agent, no configuration, no known hosts.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from telepresence_py.model.errors import (
    ClusterUnreachable,
    InternalError,
    PreconditionFailed,
    TelepresenceError,
)
from telepresence_py.model.network import PodFacts, WebSocketTarget
from telepresence_py.tunnel.bridge import in_asyncio
from telepresence_py.tunnel.interface import Tunnel
from telepresence_py.tunnel.keys import SessionKey
from telepresence_py.tunnel.live import LiveTunnel
from telepresence_py.tunnel.websocket import DialFailed, PortForwardBroken, connect
from telepresence_sidecar.contract import PROTOCOL, SSH_USER, SUBSYSTEM
from telepresence_sidecar.contract.heartbeat import Heartbeat
from telepresence_sidecar.contract.lean_ssh import load_asyncssh
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


@asynccontextmanager
async def open_tunnel(
    dial: Callable[[], WebSocketTarget], key: SessionKey, host_fingerprint: str, deadline_seconds: float
) -> AsyncIterator[Tunnel]:
    """A tunnel to the sidecar whose log told `host_fingerprint` (`SHA256:...`), for the length of the block.

    Under trio, in `bridge.run`. `dial` is asked anew for each try, in a worker thread, as it may block.
    Failed dials are repeated until `deadline_seconds` have passed. Raises ClusterUnreachable, NoRights,
    SessionLost (the pod is gone), PreconditionFailed (a sidecar of another protocol), InternalError (another
    host key, or the key refused). Leaving the block cuts the link; `Tunnel.leave` beforehand says goodbye.
    """

    async def connect_once(factory: Callable[[], asyncio.Protocol]) -> asyncio.Protocol:
        return await connect(await asyncio.to_thread(dial), factory)

    async with open_tunnel_over(connect_once, key, host_fingerprint, deadline_seconds) as tunnel:
        yield tunnel


@asynccontextmanager
async def open_tunnel_over(
    connect_once: Connect, key: SessionKey, host_fingerprint: str, deadline_seconds: float
) -> AsyncIterator[Tunnel]:
    """The same over any byte transport."""
    attempt = _Attempt(connect_once, key, host_fingerprint)
    try:
        with trio.move_on_after(deadline_seconds):
            await _repeat(attempt)
        if attempt.tunnel is None:
            raise attempt.last_error or ClusterUnreachable(
                f"the sidecar did not answer within {deadline_seconds:g} seconds; see the pod's log"
            )
        yield attempt.tunnel
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_SECONDS):
            await in_asyncio(attempt.close)


async def _repeat(attempt: _Attempt) -> None:
    pause = FIRST_RETRY
    while True:
        try:
            await in_asyncio(attempt.run)
            return
        except DialFailed as failed:
            attempt.last_error = failed.error
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


class _Attempt:
    """`run` until it succeeds, then `tunnel` is there; `cut` ends whatever there is."""

    def __init__(self, connect_once: Connect, key: SessionKey, host_fingerprint: str) -> None:
        self.tunnel: LiveTunnel | None = None
        self.last_error: TelepresenceError | None = None
        self._connect_once = connect_once
        self._key = key
        self._host_fingerprint = host_fingerprint
        self._connection: asyncssh.SSHClientConnection | None = None
        self._mux: Mux | None = None

    def cut(self) -> None:
        if self._mux is not None:
            self._mux.abort()
        if self._connection is not None:
            self._connection.abort()

    async def close(self) -> None:
        """Cuts, and waits until it is cut."""
        self.cut()
        if self._connection is not None:
            await self._connection.wait_closed()

    async def run(self) -> None:
        """One try, under asyncio. DialFailed when another may help."""
        try:
            await self._shake_hands()
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

    async def _shake_hands(self) -> None:
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
            lambda: session, subsystem=SUBSYSTEM, encoding=None, window=CHANNEL_WINDOW, max_pktsize=MAX_PACKET
        )
        hello: asyncio.Future[Hello] = asyncio.get_running_loop().create_future()
        tunnel = LiveTunnel()

        def heard(fields: dict[str, object]) -> None:
            if hello.done():
                tunnel.on_message(fields)
            else:
                hello.set_result(_hello(fields))

        self._mux = mux = Mux(session, 1, tunnel.on_open, heard)
        mux.lost.add_done_callback(lambda _: hello.done() or hello.cancel())
        session.carry(mux)
        Heartbeat(mux).start()
        try:
            greeting = await hello
        except asyncio.CancelledError:
            if not mux.lost.done():
                raise
            raise mux.lost.result() or ConnectionResetError("the sidecar hung up") from None
        _check_protocol(greeting)
        facts, unserved = _parse(greeting)
        tunnel.begin(mux, facts, unserved)
        self.tunnel = tunnel


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
