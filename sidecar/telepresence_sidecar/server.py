"""The SSH server on the pod's loopback: one key, one user, one subsystem, and nothing else that SSH can
do."""

from __future__ import annotations

import asyncio
import hmac
from typing import Any

from .contract import LINK_VARIABLE, SSH_USER, SUBSYSTEM
from .contract.lean_ssh import load_asyncssh
from .contract.ssh_wire import CHANNEL_WINDOW, MAX_PACKET, ChannelWire, SshWire
from .service import Service

load_asyncssh()
import asyncssh  # noqa: E402
from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: E402

LOGIN_SECONDS = 15


class _Session(ChannelWire, asyncssh.SSHServerSession[bytes]):
    """The subsystem's channel."""

    new_cipher = AESGCM

    def __init__(self, service: Service) -> None:
        self._service = service

    def subsystem_requested(self, subsystem: str) -> bool:
        return subsystem == SUBSYSTEM

    def session_started(self) -> None:
        channel: Any = self._channel
        leg = self._service.attach(self, channel.get_environment().get(LINK_VARIABLE))
        if leg is not None:
            self.carry(leg)


class _Login(asyncssh.SSHServer):
    """Refusing is asyncssh's default for everything but what is overridden here."""

    def __init__(self, client_key: bytes, service: Service) -> None:
        self._client_key = client_key
        self._service = service

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return username == SSH_USER and hmac.compare_digest(key.public_data, self._client_key)

    def password_auth_supported(self) -> bool:
        return False

    def kbdint_auth_supported(self) -> bool:
        return False

    def session_requested(self) -> Any:
        channel = self._connection.create_server_channel(
            encoding=None, window=CHANNEL_WINDOW, max_pktsize=MAX_PACKET
        )
        return channel, _Session(self._service)


class _Listener:
    """Gives asyncssh its connections through SshWire; asyncssh takes it for a tunnel to listen through."""

    async def create_server(self, factory: Any, host: str, port: int) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        return await loop.create_server(lambda: SshWire(factory(host, port)), host, port)


async def serve(port: int, client_key: str, service: Service) -> tuple[asyncssh.SSHAcceptor, str]:
    """Listens on the pod's loopback. Returns the acceptor, to be closed, and the fingerprint of a fresh
    host key."""
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    public = asyncssh.import_public_key(client_key).public_data
    acceptor = await asyncssh.listen(
        "127.0.0.1",
        port,
        tunnel=_Listener(),
        server_factory=lambda: _Login(public, service),
        server_host_keys=[host_key],
        config=None,
        kex_algs=["curve25519-sha256"],
        encryption_algs=["aes128-gcm@openssh.com", "chacha20-poly1305@openssh.com"],
        compression_algs=["none"],
        allow_pty=False,
        line_editor=False,
        agent_forwarding=False,
        x11_forwarding=False,
        gss_kex=False,
        gss_auth=False,
        host_based_auth=False,
        login_timeout=LOGIN_SECONDS,
    )
    return acceptor, host_key.get_fingerprint("sha256")
