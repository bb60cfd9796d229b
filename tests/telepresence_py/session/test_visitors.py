"""What a session tells those who ask at its socket, and whom it does not wait for."""

from __future__ import annotations

import socket
import stat
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from telepresence_py.model.records import SessionRecord
from telepresence_py.model.status import SessionStatus
from telepresence_py.session import visitors
from telepresence_py.session.recording import Recorded, entrance_at
from telepresence_py.session.tunnels import Tunnels
from telepresence_py.session.visitors import receive_visitors, status_of
from telepresence_py.tunnel import bridge
from tests.fakes.tunnel import FakePod

RECORD = SessionRecord("s-1", "deployment/orders", "shop", "dev", "2026-11-28T23:00:00Z", 4711, 1)


@asynccontextmanager
async def served(place: Path, tunnels: Tunnels) -> AsyncIterator[None]:
    entrance = entrance_at(place)
    assert entrance is not None
    with entrance:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive_visitors, Recorded(RECORD, entrance), tunnels)
            yield
            nursery.cancel_scope.cancel()


async def hung_up(visitor: trio.SocketStream) -> None:
    with suppress(trio.BrokenResourceError):  # there was something that it had not read
        assert await visitor.receive_some() == b""


def in_time(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def at_most() -> None:
        with trio.fail_after(20):
            await main()

    bridge.run(at_most)


async def answers(visitor: trio.SocketStream, count: int) -> list[SessionStatus]:
    said = b""
    while said.count(b"\n") < count:
        data = await visitor.receive_some()
        assert data, "it hung up"
        said += data
    return [SessionStatus.from_json(line) for line in said.splitlines()]


def test_whoever_asks_is_told_of_each_pod_as_often_as_they_ask(tmp_path: Path) -> None:
    async def main() -> None:
        tunnels, pod = Tunnels(), FakePod()
        tunnels.add("orders-tp-0", pod.tunnel())
        async with (
            served(tmp_path / "s", tunnels),
            await trio.open_unix_socket(str(tmp_path / "s")) as visitor,
        ):
            await visitor.send_all(b"status\nsta")
            (first,) = await answers(visitor, 1)
            await visitor.send_all(b"tus\n")
            (second,) = await answers(visitor, 1)
        assert (first.session, first.workload, first.pid) == ("s-1", "deployment/orders", 4711)
        assert [(pod.pod, pod.link.state) for pod in second.pods] == [("orders-tp-0", "up")]

    in_time(main)


def test_figures_follow_the_link_and_what_goes_over_it() -> None:
    async def main() -> None:
        tunnels, pod = Tunnels(), FakePod()
        tunnel = pod.tunnel()
        tunnels.add("orders-tp-0", tunnel)
        await tunnel.link_up.wait()

        def link():
            return status_of(RECORD, tunnels).pods[0].link

        before = link()
        stream = tunnel.open("127.0.0.1", 9)
        assert link().connections == before.connections + 1
        assert link().sent > before.sent
        stream.abort()
        assert link().connections == before.connections
        pod.cut_link()
        await tunnel.link_down.wait()
        assert (link().state, link().reconnects) == ("down", 0)
        pod.mend_link()
        await tunnel.link_up.wait()
        assert (link().state, link().reconnects) == ("up", 1)
        pod.cut()
        await tunnel.lost.wait()
        assert link().state == "lost"

    in_time(main)


@pytest.mark.parametrize("said", [b"restore\n", b"status\nmore\n", b"x" * 4096])
def test_whoever_says_anything_else_is_left(said: bytes, tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            served(tmp_path / "s", Tunnels()),
            await trio.open_unix_socket(str(tmp_path / "s")) as visitor,
        ):
            await visitor.send_all(said)
            await hung_up(visitor)

    in_time(main)


def test_silent_ones_are_left_and_too_many_turned_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visitors, "MOST_VISITORS", 1)
    monkeypatch.setattr(visitors, "SILENT_SECONDS", 0.3)

    async def main() -> None:
        async with served(tmp_path / "s", Tunnels()):
            async with await trio.open_unix_socket(str(tmp_path / "s")) as silent:
                async with await trio.open_unix_socket(str(tmp_path / "s")) as another:
                    await hung_up(another)
                await hung_up(silent)
            async with await trio.open_unix_socket(str(tmp_path / "s")) as asking:
                await asking.send_all(b"status\n")
                assert (await answers(asking, 1))[0].pods == ()

    in_time(main)


def test_the_socket_is_its_user_s_alone_and_takes_the_place_of_a_dead_one(tmp_path: Path) -> None:
    place = tmp_path / "s"
    for _ in range(2):
        entrance = entrance_at(place)
        assert entrance is not None
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        entrance.close()


def test_where_no_socket_can_be_a_session_lives_without(tmp_path: Path) -> None:
    assert entrance_at(tmp_path / ("s" * 200)) is None


@pytest.mark.parametrize(
    "text", [b"", b"{}", b"[]", b'{"version": 2, "pods": []}', b'{"version": 1, "pods": [{}]}']
)
def test_what_is_no_status_of_this_version_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="not a status"):
        SessionStatus.from_json(text)


def test_a_status_survives_its_way(tmp_path: Path) -> None:
    async def main() -> None:
        tunnels = Tunnels()
        tunnels.add("orders-tp-0", FakePod().tunnel())
        status = status_of(RECORD, tunnels)
        assert SessionStatus.from_json(status.to_json()) == status

    in_time(main)


def test_one_who_takes_no_answer_keeps_nobody_waiting(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(tmp_path / "s", Tunnels()):
            deaf = socket.socket(socket.AF_UNIX)
            with deaf:
                deaf.connect(str(tmp_path / "s"))
                deaf.setblocking(False)
                with suppress(BlockingIOError):
                    while deaf.send(b"status\n" * 100):
                        await trio.lowlevel.checkpoint()
                async with await trio.open_unix_socket(str(tmp_path / "s")) as visitor:
                    await visitor.send_all(b"status\n")
                    assert len(await answers(visitor, 1)) == 1

    in_time(main)
