"""The doors on which a child on the laptop's network asks for names."""

from __future__ import annotations

import asyncio
import socket

from telepresence_py.forward import name_doors
from telepresence_py.forward.name_doors import serve_names
from tests.fakes.loop import in_loop, until


def door() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    made.setblocking(False)
    return made


@in_loop
async def test_every_asker_has_its_own_answer_and_what_is_no_query_has_none() -> None:
    async def answer(query: bytes) -> bytes | None:
        return None if query == b"rubbish" else b"to " + query

    loop = asyncio.get_running_loop()
    with door() as served, door() as first, door() as second:
        async with serve_names([served], answer):
            for asker, query in ((first, b"rubbish"), (first, b"one"), (second, b"two")):
                asker.connect(served.getsockname())
                asker.send(query)
            assert await loop.sock_recv(first, 100) == b"to one"
            assert await loop.sock_recv(second, 100) == b"to two"


@in_loop
async def test_beyond_the_most_queries_one_is_dropped_and_the_end_drops_all() -> None:
    asked: list[bytes] = []

    async def answer(query: bytes) -> bytes | None:
        asked.append(query)
        await asyncio.Event().wait()
        return None

    most, name_doors.MOST_QUERIES = name_doors.MOST_QUERIES, 2
    try:
        with door() as served, door() as asker:
            async with serve_names([served], answer):
                asker.connect(served.getsockname())
                for number in range(4):
                    asker.send(b"%d" % number)
                await until(lambda: len(asked) == 2)
            await asyncio.sleep(0)
            assert asked == [b"0", b"1"]
    finally:
        name_doors.MOST_QUERIES = most
