"""Who may log in, to what; and what the sidecar process does as its clients come and go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncssh
import pytest

from telepresence_sidecar.contract import CONNECTED_LOG_PREFIX, LOST_LOG_PREFIX, SSH_USER, SUBSYSTEM
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


@in_loop
async def test_the_newest_connection_wins() -> None:
    with sidecar_process(LINE) as sidecar:
        async with login(sidecar) as first:
            _, reader, _ = await first.open_session(subsystem=SUBSYSTEM, encoding=None)
            assert await reader.readexactly(1) == b"\x07"
            async with login(sidecar) as second:
                _, other_reader, _ = await second.open_session(subsystem=SUBSYSTEM, encoding=None)
                assert await other_reader.readexactly(1) == b"\x07"
                await first.wait_closed()


@in_loop
async def test_the_log_tells_in_whose_name_and_the_grace_period_ends_it() -> None:
    with sidecar_process(LINE, grace=0.3) as sidecar:
        async with login(sidecar) as connection:
            await connection.open_session(subsystem=SUBSYSTEM, encoding=None)
        code, log = await asyncio.to_thread(sidecar.wait)
    assert code == 0
    connected, lost, ended = log.splitlines()
    assert connected == f"{CONNECTED_LOG_PREFIX}: session s-1 of joe@laptop"
    assert lost.startswith(LOST_LOG_PREFIX)
    assert ended == "exit (no client for 0.3 s): session s-1 of joe@laptop"


@in_loop
async def test_a_sidecar_that_nobody_ever_calls_exits() -> None:
    with sidecar_process(LINE, grace=0.2) as sidecar:
        code, log = await asyncio.to_thread(sidecar.wait)
    assert (code, log) == (0, "exit (no client for 0.2 s): session s-1 of joe@laptop\n")


@in_loop
async def test_sigterm_ends_it_quickly() -> None:
    with sidecar_process(LINE) as sidecar:
        sidecar.terminate()
        code, log = await asyncio.to_thread(sidecar.wait)
    assert (code, log) == (0, "exit (the pod is deleted): session s-1 of joe@laptop\n")
