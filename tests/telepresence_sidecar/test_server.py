"""Who may log in, to what; and what the sidecar process does as its clients come and go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncssh
import pytest

from telepresence_sidecar.contract import (
    CONNECTED_LOG_PREFIX,
    LINK_VARIABLE,
    LOST_LOG_PREFIX,
    PROTOCOL,
    SSH_USER,
    SUBSYSTEM,
)
from telepresence_sidecar.contract.frames import HEADER, Frame, FrameType, decode_message, encode_message
from tests.fakes.loop import in_loop
from tests.fakes.sidecar_process import SidecarProcess, sidecar_process

KEY = asyncssh.generate_private_key("ssh-ed25519")
LINE = KEY.export_public_key().decode().strip()


@asynccontextmanager
async def login(sidecar: SidecarProcess, **options: Any) -> AsyncIterator[asyncssh.SSHClientConnection]:
    arguments: dict[str, Any] = {
        "username": SSH_USER,
        "client_keys": [KEY],
        "known_hosts": None,
        "config": None,
        "agent_path": None,
        **options,
    }
    async with asyncssh.connect("127.0.0.1", sidecar.config.tunnel_port, **arguments) as connection:
        yield connection


@pytest.mark.parametrize(
    "options",
    [
        {"client_keys": [asyncssh.generate_private_key("ssh-ed25519")]},
        {"username": "root"},
        {"client_keys": None, "password": "guess"},
    ],
    ids=["another key", "another user", "a password"],
)
@in_loop
async def test_nobody_else_gets_in(options: dict[str, Any]) -> None:
    with sidecar_process(LINE) as sidecar:
        with pytest.raises(asyncssh.PermissionDenied):
            async with login(sidecar, **options):
                pass


@in_loop
async def test_nothing_but_the_subsystem_is_served() -> None:
    with sidecar_process(LINE) as sidecar:
        async with login(sidecar) as connection:
            with pytest.raises(asyncssh.ChannelOpenError):
                await connection.create_session(asyncssh.SSHClientSession)
            with pytest.raises(asyncssh.ChannelOpenError):
                await connection.create_session(asyncssh.SSHClientSession, "id")
            with pytest.raises(asyncssh.ChannelOpenError):
                await connection.create_session(asyncssh.SSHClientSession, subsystem="sftp")
            with pytest.raises(asyncssh.ChannelOpenError):
                await connection.open_connection("127.0.0.1", sidecar.config.health_port)
            with pytest.raises(asyncssh.ChannelOpenError):
                await connection.open_unix_connection("/run/any")
            with pytest.raises(asyncssh.ChannelListenError):
                await connection.forward_remote_port("", 0, "127.0.0.1", 9)
            with pytest.raises(asyncssh.ChannelListenError):
                await connection.start_unix_server(lambda: None, "/tmp/any")


async def claimed(
    connection: asyncssh.SSHClientConnection, claim: str
) -> tuple[asyncssh.SSHWriter[bytes], asyncssh.SSHReader[bytes]]:
    writer, reader, _ = await connection.open_session(
        subsystem=SUBSYSTEM, encoding=None, env={LINK_VARIABLE: claim}
    )
    return writer, reader


async def next_frame(reader: asyncssh.SSHReader[bytes]) -> Frame:
    """But for pings and acknowledgements."""
    while True:
        header = await reader.readexactly(HEADER.size)
        word, stream = HEADER.unpack(header)
        frame = Frame(FrameType(word >> 24), stream, await reader.readexactly(word & 0xFFFFFF))
        if frame.type not in {FrameType.PING, FrameType.ACK}:
            return frame


@in_loop
async def test_the_newest_connection_wins_and_the_older_is_told_so() -> None:
    with sidecar_process(LINE) as sidecar:
        async with login(sidecar) as first:
            _, reader = await claimed(first, "one 0")
            assert (await next_frame(reader)).type is FrameType.WELCOME
            assert decode_message((await next_frame(reader)).payload)["is"] == "Hello"
            async with login(sidecar) as second:
                _, other_reader = await claimed(second, "two 0")
                assert (await next_frame(other_reader)).type is FrameType.WELCOME
                assert (await next_frame(reader)).type is FrameType.GONE
                await first.wait_closed()


@in_loop
async def test_a_link_goes_on_where_it_was_over_another_connection() -> None:
    with sidecar_process(LINE) as sidecar:
        async with login(sidecar) as first, login(sidecar) as second:
            _, reader = await claimed(first, "one 0")
            assert (await next_frame(reader)).payload == bytes(8)
            hello = await next_frame(reader)
            size = HEADER.size + len(hello.payload)
            _, reader = await claimed(second, "one 0")
            assert (await next_frame(reader)).type is FrameType.WELCOME
            assert await next_frame(reader) == hello, "who has not got it is sent it again"
            await first.wait_closed()
            async with login(sidecar) as third:
                writer, reader = await claimed(third, f"one {size}")
                assert (await next_frame(reader)).type is FrameType.WELCOME
                writer.write(encode_message({"is": "Leave"}))
                assert decode_message((await next_frame(reader)).payload)["is"] == "Goodbye"


@pytest.mark.parametrize(
    "claim", ["two 17", "one 999999", "one -1", "nonsense", "one two three", "two-bulk 0", "one-bulk 5"]
)
@in_loop
async def test_a_link_that_cannot_go_on_is_refused_and_the_other_lives(claim: str) -> None:
    with sidecar_process(LINE) as sidecar:
        async with login(sidecar) as first, login(sidecar) as second:
            writer, reader = await claimed(first, "one 0")
            assert (await next_frame(reader)).type is FrameType.WELCOME
            _, other_reader = await claimed(second, claim)
            assert (await next_frame(other_reader)).type is FrameType.GONE
            await next_frame(reader)
            writer.write(encode_message({"is": "Leave"}))
            assert decode_message((await next_frame(reader)).payload)["is"] == "Goodbye"


@in_loop
async def test_a_second_link_for_what_is_much_lives_and_ends_with_the_first() -> None:
    with sidecar_process(LINE) as sidecar:
        async with login(sidecar) as first, login(sidecar) as bulk, login(sidecar) as another:
            _, reader = await claimed(first, "one 0")
            assert (await next_frame(reader)).type is FrameType.WELCOME
            _, bulk_reader = await claimed(bulk, "one-bulk 0")
            assert (await next_frame(bulk_reader)).type is FrameType.WELCOME
            await claimed(another, "two 0")
            assert (await next_frame(bulk_reader)).type is FrameType.GONE


@in_loop
async def test_a_laptop_of_the_first_protocol_is_told_which_one_this_is() -> None:
    with sidecar_process(LINE) as sidecar:
        async with login(sidecar) as connection:
            _, reader, _ = await connection.open_session(subsystem=SUBSYSTEM, encoding=None)
            frame = await next_frame(reader)
            assert frame.type is FrameType.MESSAGE
            assert decode_message(frame.payload)["protocol"] == PROTOCOL


@in_loop
async def test_the_log_tells_in_whose_name_and_the_grace_period_ends_it() -> None:
    with sidecar_process(LINE, grace=2.0) as sidecar:
        async with login(sidecar) as connection:
            _, reader = await claimed(connection, "one 0")
            await next_frame(reader)
        code, log = await asyncio.to_thread(sidecar.wait)
    assert code == 0
    connected, lost, ended = log.splitlines()
    assert connected == f"{CONNECTED_LOG_PREFIX}: session s-1 of joe@laptop"
    assert lost.startswith(LOST_LOG_PREFIX)
    assert ended == "exit (no client for 2 s): session s-1 of joe@laptop"


@in_loop
async def test_sigterm_while_the_link_is_down_ends_it_at_once() -> None:
    with sidecar_process(LINE) as sidecar:
        async with login(sidecar) as connection:
            _, reader = await claimed(connection, "one 0")
            await next_frame(reader)
        await asyncio.to_thread(lambda: [sidecar.log.readline() for _ in range(2)])
        sidecar.terminate()
        code, log = await asyncio.to_thread(sidecar.wait)
    assert code == 0
    assert log.endswith("exit (the pod is deleted): session s-1 of joe@laptop\n")


@in_loop
async def test_a_sidecar_says_whose_it_is_and_exits_when_its_client_does_not_come_again() -> None:
    with sidecar_process(LINE, grace=0.2) as sidecar:
        assert "telepresence-py restore KIND/NAME --force" in sidecar.began[-1]
        assert sidecar.began[-1].endswith(": session s-1 of joe@laptop")
        async with login(sidecar) as client:
            _, reader = await claimed(client, "one 0")
            await next_frame(reader)
        code, log = await asyncio.to_thread(sidecar.wait)
    assert (code, log.splitlines()[-1]) == (0, "exit (no client for 0.2 s): session s-1 of joe@laptop")


@in_loop
async def test_sigterm_ends_it_quickly() -> None:
    with sidecar_process(LINE) as sidecar:
        sidecar.terminate()
        code, log = await asyncio.to_thread(sidecar.wait)
    assert (code, log) == (0, "exit (the pod is deleted): session s-1 of joe@laptop\n")
