"""Packets of our own against asyncssh's: the same bytes arrive, keys are renewed, forgeries end it.

Each end of a connection over loopback makes its packets itself (`AESGCM`) or leaves it to asyncssh (`None`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncssh
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from telepresence_sidecar.contract import ssh_packets
from telepresence_sidecar.contract.frames import HEADER
from telepresence_sidecar.contract.lane import BATCH
from telepresence_sidecar.contract.schedule import QUANTUM
from telepresence_sidecar.contract.ssh_wire import CHANNEL_WINDOW, MAX_PACKET, ChannelWire, SshWire
from tests.fakes.loop import in_loop, until

KEY = asyncssh.generate_private_key("ssh-ed25519")
BOTH_KINDS = pytest.mark.parametrize(
    ("client", "server"),
    [(AESGCM, AESGCM), (AESGCM, None), (None, AESGCM)],
    ids=["both ends", "client only", "server only"],
)
Cipher = Callable[[bytes], Any] | None


class Hearing:
    """A mux by shape."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.lost: list[Exception | None] = []

    def feed(self, data: bytes) -> None:
        self.heard += data

    def drained(self) -> None: ...

    def wire_lost(self, reason: Exception | None) -> None:
        self.lost.append(reason)


@dataclass
class Way:
    """What lies below a client: `change` sees all that comes, which is cut anywhere before it goes on."""

    change: Callable[[bytes], bytes] = lambda data: data
    random: random.Random = field(default_factory=lambda: random.Random(7))
    sent: list[bytes] = field(default_factory=list)


class CutWire(SshWire):
    def __init__(self, ssh: Any, way: Way) -> None:
        super().__init__(ssh)
        self._way = way

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        write = transport.write

        def noted(data: Any) -> None:
            self._way.sent.append(bytes(data))
            write(self._way.sent[-1])

        transport.write = noted  # type: ignore[method-assign]
        transport.writelines = lambda pieces: noted(b"".join(pieces))  # type: ignore[method-assign]
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        rest = self._way.change(data)
        while rest:
            cut = self._way.random.choice((1, 3, 4, 20, 1000, 70_000))
            super().data_received(rest[:cut])
            rest = rest[cut:]


class End:
    """One end's channel, and what it heard."""

    def __init__(self, wire: ChannelWire) -> None:
        self.wire = wire
        self.mux = Hearing()
        self.keys: set[int] = set()
        self._kept: list[object] = []

    @property
    def channel(self) -> Any:
        return self.wire._channel

    @property
    def connection(self) -> Any:
        return self.channel.get_extra_info("connection")

    def write(self, data: bytes) -> None:
        self.wire.write(data)
        key = self.connection._send_encryption
        self.keys.add(id(key))
        self._kept.append(key)  # so that no other gets its id


class ServerSession(ChannelWire, asyncssh.SSHServerSession[bytes]):
    def __init__(self, cipher: Cipher, began: asyncio.Future[End]) -> None:
        self.new_cipher = cipher
        self._began = began

    def subsystem_requested(self, subsystem: str) -> bool:
        return True

    def session_started(self) -> None:
        end = End(self)
        self.carry(end.mux)
        self._began.set_result(end)


class ClientSession(ChannelWire, asyncssh.SSHClientSession[bytes]):
    def __init__(self, cipher: Cipher) -> None:
        self.new_cipher = cipher


class Login(asyncssh.SSHServer):
    def __init__(self, session: ServerSession, window: int) -> None:
        self._session, self._window = session, window

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn

    def begin_auth(self, username: str) -> bool:
        return False

    def session_requested(self) -> Any:
        channel = self._connection.create_server_channel(
            encoding=None, window=self._window, max_pktsize=MAX_PACKET
        )
        return channel, self._session


@asynccontextmanager
async def connected(
    client: Cipher,
    server: Cipher,
    way: Way | None = None,
    window: int = CHANNEL_WINDOW,
    **options: Any,
) -> AsyncIterator[tuple[End, End]]:
    """The client's end and the server's, of a connection with `options` at both."""
    loop = asyncio.get_running_loop()
    below = way or Way()
    began: asyncio.Future[End] = loop.create_future()
    options = {"encryption_algs": ["aes128-gcm@openssh.com"], "config": None, **options}

    class Below:
        async def create_server(self, factory: Any, host: str, port: int) -> asyncio.Server:
            return await loop.create_server(lambda: SshWire(factory(host, port)), host, port)

        async def create_connection(self, factory: Any, host: str, port: int) -> tuple[None, Any]:
            ssh = factory()
            await loop.create_connection(lambda: CutWire(ssh, below), host, port)
            return None, ssh

    acceptor = await asyncssh.listen(
        "127.0.0.1",
        0,
        tunnel=Below(),
        server_factory=lambda: Login(ServerSession(server, began), window),
        server_host_keys=[KEY],
        line_editor=False,
        **options,
    )
    connection = await asyncssh.connect(
        "127.0.0.1",
        acceptor.get_port(),
        tunnel=Below(),
        username="anybody",
        known_hosts=None,
        agent_path=None,
        **options,
    )
    session = ClientSession(client)
    await connection.create_session(
        lambda: session, subsystem="any", encoding=None, window=window, max_pktsize=MAX_PACKET
    )
    here = End(session)
    session.carry(here.mux)
    try:
        yield here, await began
    finally:
        connection.abort()
        acceptor.close()
        await connection.wait_closed()
        await acceptor.wait_closed()


async def exchange(here: End, there: End, total: int) -> None:
    """Random pieces both ways at once, at least `total` bytes each; all must arrive unchanged."""
    chance = random.Random(total)
    said: dict[End, bytearray] = {here: bytearray(), there: bytearray()}
    while min(map(len, said.values())) < total:
        for end in (here, there):
            piece = chance.randbytes(chance.choice((1, 2, 5, 6, 7, 64, 3000, 65_544)))
            end.write(piece)
            said[end] += piece
        await asyncio.sleep(0)
    await until(lambda: len(here.mux.heard) == len(said[there]) and len(there.mux.heard) == len(said[here]))
    assert (here.mux.heard, there.mux.heard) == (said[there], said[here])


@BOTH_KINDS
@in_loop
async def test_bytes_of_any_size_arrive_in_order_however_the_wire_cuts_them(
    client: Cipher, server: Cipher
) -> None:
    async with connected(client, server) as (here, there):
        await exchange(here, there, 1_000_000)


@BOTH_KINDS
@in_loop
async def test_keys_are_renewed_after_so_many_bytes(client: Cipher, server: Cipher) -> None:
    async with connected(client, server, rekey_bytes=150_000) as (here, there):
        await exchange(here, there, 1_500_000)
        assert len(here.keys) > 3
        assert len(there.keys) > 3


@BOTH_KINDS
@in_loop
async def test_keys_are_renewed_after_so_much_time(client: Cipher, server: Cipher) -> None:
    async with connected(client, server, rekey_seconds=0.05) as (here, there):
        while min(len(here.keys), len(there.keys)) < 4:
            here.write(b"here")
            there.write(b"there")
            await asyncio.sleep(0.005)


@BOTH_KINDS
@in_loop
async def test_more_than_a_window_arrives(client: Cipher, server: Cipher) -> None:
    async with connected(client, server, window=100_000) as (here, there):
        await exchange(here, there, 1_000_000)


@BOTH_KINDS
@in_loop
async def test_packets_that_are_no_data_may_come_between(client: Cipher, server: Cipher) -> None:
    async with connected(client, server) as (here, there):
        for end in (here, there) * 20:
            end.connection.send_debug("anything")
            end.write(b"x" * 100)
            end.connection.send_packet(2, b"\0\0\0\0")  # IGNORE
            end.write(b"y" * 100)
        for end in (here, there):
            await until(lambda end=end: len(end.mux.heard) == 4000)  # type: ignore[misc]


@pytest.mark.parametrize("server", [AESGCM, None], ids=["ours", "asyncssh"])
@in_loop
async def test_a_forged_packet_ends_the_connection(server: Cipher) -> None:
    way = Way()
    async with connected(AESGCM, server, way) as (here, there):
        await exchange(here, there, 1000)
        heard = bytes(here.mux.heard)
        way.change = lambda data: data[:-1] + bytes([data[-1] ^ 1])
        there.write(b"forged on its way")
        await until(lambda: bool(here.mux.lost and there.mux.lost))
        assert "MAC" in str(here.mux.lost[0])
        assert here.mux.heard == heard


@in_loop
async def test_a_packet_too_long_ends_the_connection() -> None:
    way = Way()
    async with connected(AESGCM, AESGCM, way) as (here, there):
        way.change = lambda data: b"\x7f" + data[1:]
        there.write(b"of two billion bytes")
        await until(lambda: bool(here.mux.lost))
        assert "Max packet size exceeded" in str(here.mux.lost[0])


@in_loop
async def test_data_is_one_packet_and_one_write() -> None:
    way = Way()
    async with connected(AESGCM, AESGCM, way) as (here, _):
        way.sent.clear()
        here.write(b"x" * 64)
        assert [len(write) for write in way.sent] == [4 + 80 + 16]


@in_loop
async def test_what_is_longer_than_a_packet_goes_in_several_of_ours() -> None:
    way = Way()
    async with connected(AESGCM, AESGCM, way) as (here, there):
        way.sent.clear()
        said = random.Random(1).randbytes(2 * MAX_PACKET + 64)
        here.write(said)
        assert [len(write) for write in way.sent] == [MAX_PACKET + 16 + 4 + 16] * 2 + [4 + 80 + 16]
        await until(lambda: there.mux.heard == said)


def test_what_a_lane_writes_at_once_is_one_packet() -> None:
    of_frames = 1000 * HEADER.size
    assert BATCH + QUANTUM + of_frames <= MAX_PACKET


@in_loop
async def test_a_cipher_that_we_do_not_know_is_asyncssh_s() -> None:
    async with connected(AESGCM, AESGCM, encryption_algs=["aes128-ctr"]) as (here, there):
        await exchange(here, there, 300_000)


@pytest.mark.parametrize("names", ["_CONNECTION", "_CHANNEL", "_CIPHER"])
@in_loop
async def test_with_an_asyncssh_that_lacks_a_name_all_goes_through_it(
    names: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh_packets, names, (*getattr(ssh_packets, names), "_gone"))
    way = Way()
    async with connected(AESGCM, AESGCM, way) as (here, there):
        await exchange(here, there, 300_000)
        way.sent.clear()
        here.write(b"x" * 64)
        await until(lambda: bool(way.sent))
        assert len(way.sent[0]) > 4 + 80 + 16  # asyncssh's IGNORE stands before it


@in_loop
async def test_this_asyncssh_has_all_the_names() -> None:
    async with connected(AESGCM, AESGCM) as (here, there):
        assert here.wire._packets is not None
        assert there.wire._packets is not None
        assert here.wire._packets.seal([b"anything"], 8) is not None


class OlderCipher:
    """AESGCM as it was before cryptography 47: what it seals is always in a buffer of its own."""

    def __init__(self, key: bytes) -> None:
        self.encrypt, self.decrypt = AESGCM(key).encrypt, AESGCM(key).decrypt


@in_loop
async def test_a_cipher_that_cannot_seal_in_place_is_not_used() -> None:
    older: Any = OlderCipher
    async with connected(older, AESGCM) as (here, there):
        assert here.wire._packets is None
        assert there.wire._packets is not None
        await exchange(here, there, 300_000)
