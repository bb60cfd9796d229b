"""Who is let in and who is trusted; what is repeated and what is not. The wire is plain TCP to a sidecar
process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import trio

from telepresence_py.model.errors import (
    ClusterUnreachable,
    InternalError,
    PreconditionFailed,
    SessionLost,
)
from telepresence_py.tunnel import connection
from telepresence_py.tunnel.bridge import in_asyncio, run
from telepresence_py.tunnel.connection import open_tunnel, open_tunnel_over
from telepresence_py.tunnel.keys import SessionKey
from tests.fakes.sidecar_process import free_port, sidecar_process

KEY = SessionKey.generate()


def over(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def in_time() -> None:
        with trio.fail_after(20):
            await main()

    run(in_time)


async def nobody(factory: Callable[[], asyncio.Protocol]) -> asyncio.Protocol:
    loop = asyncio.get_running_loop()
    return (await loop.create_connection(factory, "127.0.0.1", free_port()))[1]


def test_another_host_key_is_refused() -> None:
    async def main() -> None:
        with sidecar_process(KEY.public_line) as sidecar:
            with pytest.raises(InternalError, match="another host key than its log told"):
                async with open_tunnel_over(sidecar.connect, KEY, "SHA256:" + "A" * 43, 10):
                    pass

    over(main)


def test_another_session_s_key_is_refused() -> None:
    async def main() -> None:
        with sidecar_process(KEY.public_line) as sidecar:
            with pytest.raises(InternalError, match="does not know this session's key"):
                async with open_tunnel_over(sidecar.connect, SessionKey.generate(), sidecar.fingerprint, 10):
                    pass

    over(main)


def test_dials_are_repeated_until_one_succeeds() -> None:
    tries: list[int] = []

    async def main() -> None:
        with sidecar_process(KEY.public_line) as sidecar:

            async def third_time(factory: Callable[[], asyncio.Protocol]) -> asyncio.Protocol:
                tries.append(1)
                return await (sidecar.connect if len(tries) == 3 else nobody)(factory)

            async with open_tunnel_over(third_time, KEY, sidecar.fingerprint, 10) as tunnel:
                assert tunnel.facts.environment["GIVEN"] == "by the pod"

    over(main)
    assert len(tries) == 3


def test_after_the_deadline_the_last_failure_is_told() -> None:
    async def main() -> None:
        with pytest.raises(ClusterUnreachable, match=r"could not be opened .*Connect call failed"):
            async with open_tunnel_over(nobody, KEY, "SHA256:x", 0.3):
                pass

    over(main)


def test_a_sidecar_that_never_answers_is_given_up_at_the_deadline() -> None:
    async def main() -> None:
        silent = await asyncio_server(say_nothing)

        async def dial(factory: Callable[[], asyncio.Protocol]) -> asyncio.Protocol:
            address = silent.sockets[0].getsockname()
            return (await asyncio.get_running_loop().create_connection(factory, *address))[1]

        with pytest.raises(ClusterUnreachable, match=r"did not answer within 0\.2 seconds"):
            async with open_tunnel_over(dial, KEY, "SHA256:x", 0.2):
                pass
        silent.close()

    over(main)


async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def asyncio_server(serve: Callable[..., Coroutine[Any, Any, None]]) -> asyncio.Server:
    return await in_asyncio(lambda: asyncio.start_server(serve, "127.0.0.1", 0))


def test_what_another_try_cannot_mend_is_told_at_once() -> None:
    tries: list[int] = []

    async def gone(factory: Callable[[], asyncio.Protocol]) -> asyncio.Protocol:
        tries.append(1)
        raise SessionLost("the sidecar pod is gone")

    async def main() -> None:
        with pytest.raises(SessionLost, match="the sidecar pod is gone"):
            async with open_tunnel_over(gone, KEY, "SHA256:x", 10):
                pass

    over(main)
    assert len(tries) == 1


def test_what_dial_raises_comes_through() -> None:
    def dial() -> Any:
        raise ClusterUnreachable("log in again")

    async def main() -> None:
        with pytest.raises(ClusterUnreachable, match="log in again"):
            async with open_tunnel(dial, KEY, "SHA256:x", 10):
                pass

    over(main)


def test_a_sidecar_of_another_protocol_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PROTOCOL", 99)

    async def main() -> None:
        with sidecar_process(KEY.public_line) as sidecar:
            with pytest.raises(PreconditionFailed, match="speaks protocol 3, this program 99"):
                async with open_tunnel_over(sidecar.connect, KEY, sidecar.fingerprint, 10):
                    pass

    over(main)


def test_leaving_the_block_lets_the_sidecar_wait_for_the_next_tunnel() -> None:
    async def main() -> None:
        with sidecar_process(KEY.public_line, grace=10) as sidecar:
            for _ in range(2):
                async with open_tunnel_over(sidecar.connect, KEY, sidecar.fingerprint, 10) as tunnel:
                    assert not tunnel.lost.is_set()
                assert tunnel.lost.is_set()

    over(main)


def test_cancelling_while_connecting_leaves_nothing_behind() -> None:
    async def main() -> None:
        silent = await asyncio_server(say_nothing)

        async def dial(factory: Callable[[], asyncio.Protocol]) -> asyncio.Protocol:
            address = silent.sockets[0].getsockname()
            return (await asyncio.get_running_loop().create_connection(factory, *address))[1]

        with trio.move_on_after(0.1):
            async with open_tunnel_over(dial, KEY, "SHA256:x", 10):
                raise AssertionError("it cannot have connected")
        silent.close()

    over(main)


def test_nothing_of_the_user_s_ssh_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken ~/.ssh would be fatal to who reads it."""
    (tmp_path / ".ssh").mkdir()
    for name in ("config", "known_hosts", "id_ed25519"):
        (tmp_path / ".ssh" / name).write_text("\x00 broken {")
        os.chmod(tmp_path / ".ssh" / name, 0)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))

    async def main() -> None:
        with sidecar_process(KEY.public_line) as sidecar:
            async with open_tunnel_over(sidecar.connect, KEY, sidecar.fingerprint, 10) as tunnel:
                assert tunnel.facts.version

    over(main)
