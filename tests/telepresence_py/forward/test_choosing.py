from __future__ import annotations

import errno
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from telepresence_py.forward import choosing
from telepresence_py.forward.choosing import next_tunnel, resolve_by_any
from telepresence_sidecar.contract.names import Inquiry
from tests.fakes.loop import in_loop

ANY = Inquiry(b"?")


class Resolving(SimpleNamespace):
    """A tunnel that answers, or is lost while it is asked, or whose pod knows no answer."""

    def __init__(self, answer: bytes = b"", refuses: bool = False) -> None:
        super().__init__(lost=trio.Event(), answer=answer, refuses=refuses)

    async def resolve(self, inquiry: Inquiry, on_answer: Callable[[bytes], None]) -> None:
        if self.refuses:
            raise OSError(errno.ETIMEDOUT, "nobody answers")
        if not self.answer:
            self.lost.set()
            raise ConnectionResetError(errno.ECONNRESET, "lost")
        on_answer(bytes(self.answer))


def among(*tunnels: Resolving) -> Any:
    return lambda: next((one for one in tunnels if not one.lost.is_set()), None)


@in_loop
async def test_what_lives_is_had_at_once() -> None:
    tunnel = Resolving(b"here")
    assert await next_tunnel(among(tunnel)) is tunnel


@in_loop
async def test_a_query_whose_tunnel_is_lost_is_asked_by_the_next() -> None:
    heard: list[bytes] = []
    await resolve_by_any(among(Resolving(), Resolving(b"10.0.0.1")), ANY, heard.append)
    assert heard == [b"10.0.0.1"]


@in_loop
async def test_a_pod_that_has_no_answer_is_believed() -> None:
    with pytest.raises(OSError, match="nobody answers"):
        await resolve_by_any(among(Resolving(refuses=True), Resolving(b"10.0.0.1")), ANY, print)


@in_loop
async def test_without_any_the_network_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "PATIENCE_SECONDS", 0.1)
    with pytest.raises(OSError, match="no pod") as told:
        await resolve_by_any(among(), ANY, print)
    assert told.value.errno == errno.ENETDOWN
