"""Answers the queries of a child on the laptop's network, by UDP on doors of the session's on
loopback."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

log = logging.getLogger(__name__)

MOST_QUERIES = 1024
"""At once; beyond it a query is dropped, as the asker will ask again."""

_ROOM = 1 << 16

Answer = Callable[[bytes], Awaitable[bytes | None]]


@asynccontextmanager
async def serve_names(doors: Iterable[socket.socket], answer: Answer) -> AsyncIterator[None]:
    """Serves until the block ends. The sockets stay the caller's. Works within an asyncio loop, and under
    trio as its guest."""
    loop = asyncio.get_running_loop()
    asked: set[asyncio.Task[None]] = set()

    async def serve(door: socket.socket, query: bytes, peer: Any) -> None:
        try:
            answered = await answer(query)
            if answered is not None:
                door.sendto(answered, peer)
        except OSError as error:
            log.debug("a query was not answered: %s", error)

    def receive(door: socket.socket) -> None:
        try:
            query, peer = door.recvfrom(_ROOM)
        except OSError:  # nothing there after all, or the asker's end of an earlier answer is gone
            return
        if len(asked) < MOST_QUERIES:
            task = loop.create_task(serve(door, query, peer))
            asked.add(task)
            task.add_done_callback(asked.discard)

    served = list(doors)
    for door in served:
        loop.add_reader(door, receive, door)
    try:
        yield
    finally:
        for door in served:
            loop.remove_reader(door)
        for task in asked:
            task.cancel()
