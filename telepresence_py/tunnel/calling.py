"""Calling a sidecar: SSH with this session's key over whatever was dialled, its host key pinned, one channel.

Nothing of the user's own SSH is read: no ~/.ssh, no agent, no configuration, no known hosts.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from telepresence_py.model.errors import ClusterUnreachable, InternalError, SessionLost
from telepresence_py.tunnel.keys import SessionKey
from telepresence_py.tunnel.websocket import DialFailed, PortForwardBroken
from telepresence_sidecar.contract import LINK_VARIABLE, SSH_USER, SUBSYSTEM
from telepresence_sidecar.contract.lean_ssh import load_asyncssh
from telepresence_sidecar.contract.link import LinkGone
from telepresence_sidecar.contract.ssh_wire import CHANNEL_WINDOW, MAX_PACKET, ChannelWire, SshWire

load_asyncssh()
import asyncssh  # noqa: E402

Connect = Callable[[Callable[[], asyncio.Protocol]], Awaitable[asyncio.Protocol]]
"""connect(protocol_factory): an asyncio coroutine function that opens a byte transport with such a
protocol."""


class Channel(ChannelWire, asyncssh.SSHClientSession[bytes]):
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

    def __init__(self, connect_once: Connect, on_begin: Callable[[], None]) -> None:
        self._connect_once = connect_once
        self._on_begin = on_begin

    async def create_connection(self, factory: Any, host: str, port: int) -> tuple[None, Any]:
        ssh = factory()

        def wire() -> SshWire:
            self._on_begin()
            return SshWire(ssh)

        await self._connect_once(wire)
        return None, ssh


class Caller:
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

    async def call(self, claim: Callable[[], str], on_begin: Callable[[], None]) -> Channel:
        """The subsystem's channel, after what was there before is cut. `on_begin` is called when it is known
        where to dial, and how to log in there."""
        self.cut()
        self._connection = connection = await asyncssh.connect(
            "pod",
            tunnel=_Dialler(self._connect_once, on_begin),
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
        session = Channel()
        await connection.create_session(
            lambda: session,
            subsystem=SUBSYSTEM,
            env={LINK_VARIABLE: claim()},
            encoding=None,
            window=CHANNEL_WINDOW,
            max_pktsize=MAX_PACKET,
        )
        return session


@contextmanager
def failures_as_ours() -> Iterator[None]:
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
