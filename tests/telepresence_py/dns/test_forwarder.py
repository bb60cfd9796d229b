from __future__ import annotations

import asyncio
import struct

import pytest

from telepresence_py.dns.forwarder import Forwarder
from telepresence_py.dns.wire import HEADER
from telepresence_py.model.errors import SessionLost

QUERY = HEADER.pack(0x1234, 0x0100, 1, 0, 0, 0) + b"\x06orders\0" + struct.pack(">HH", 1, 1)
ANSWER = HEADER.pack(0, 0x8180, 1, 0, 0, 0) + QUERY[12:]


def answered(forwarder: Forwarder, query: bytes = QUERY) -> bytes | None:
    return asyncio.run(forwarder.answer(query))


def test_the_pods_answer_is_handed_on_with_the_askers_identity() -> None:
    asked = []

    async def resolve(query: bytes, whole: bool) -> bytes:
        asked.append(query)
        return ANSWER

    assert answered(Forwarder(resolve)) == QUERY[:2] + ANSWER[2:]
    assert asked == [QUERY]


@pytest.mark.parametrize("error", [ConnectionResetError(), SessionLost("gone"), TimeoutError()])
def test_a_lost_tunnel_is_a_server_failure(error: Exception) -> None:
    async def resolve(query: bytes, whole: bool) -> bytes:
        raise error

    answer = answered(Forwarder(resolve))
    assert answer is not None
    assert answer[:2] == QUERY[:2]
    assert answer[3] & 0xF == 2


def test_a_pod_that_does_not_answer_in_time_is_a_server_failure() -> None:
    async def resolve(query: bytes, whole: bool) -> bytes:
        await asyncio.Event().wait()
        raise AssertionError

    answer = answered(Forwarder(resolve, deadline=0.01))
    assert answer is not None
    assert answer[3] & 0xF == 2


def test_nonsense_from_the_pod_is_a_server_failure() -> None:
    async def resolve(query: bytes, whole: bool) -> bytes:
        return b"?"

    answer = answered(Forwarder(resolve))
    assert answer is not None
    assert answer[3] & 0xF == 2


def test_what_is_no_query_is_neither_asked_nor_answered() -> None:
    async def resolve(query: bytes, whole: bool) -> bytes:
        raise AssertionError

    assert answered(Forwarder(resolve), b"hello") is None
