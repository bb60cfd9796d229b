"""Answers the child's DNS queries by the pod's own name servers.

Over UDP all of them come here. DNS over TCP is an ordinary connection to the name server and needs nobody's
help, unless there are rules by name, whose answers must be read: then `serve_stream` has it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from telepresence_py.dns import wire
from telepresence_py.model.errors import TelepresenceError

log = logging.getLogger(__name__)

IDLE_SECONDS = 60.0
"""For which a connection for queries may be silent."""

Resolve = Callable[[bytes, bool], Awaitable[bytes]]
"""resolve(query, whole): one raw query to the raw answer of the pod's name servers; `whole` however large,
else as UDP gives it, which may be truncated."""


@dataclass(frozen=True)
class Forwarder:
    """`await forwarder.answer(query)` is what a name server would send back.

    `resolve` may fail in any way that a tunnel can: the asker is then told SERVFAIL and may try again.
    `deadline` is in seconds; it is longer than what resolvers on the laptop wait (5 s), as the pod tries
    several servers.
    """

    resolve: Resolve
    deadline: float = 10.0

    async def answer(self, query: bytes) -> bytes | None:
        """Over UDP. None when the datagram is no DNS query: such a thing gets no answer."""
        return await self._answer(query)

    async def serve_stream(self, connection: socket.socket) -> None:
        """Over TCP (RFC 7766): answers query after query until the asker closes, or asks nothing for long.

        Takes the connected, non-blocking socket over, whatever happens.
        """
        try:
            reader, writer = await asyncio.open_connection(sock=connection)
        except BaseException:
            connection.close()
            raise
        try:
            await self._answer_all(reader, writer)
        except (OSError, EOFError) as error:  # TimeoutError is an OSError
            log.debug("a connection for queries ended: %s", error)
        except BaseException:
            writer.transport.abort()
            raise
        finally:
            writer.close()

    async def _answer_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            async with asyncio.timeout(IDLE_SECONDS):
                size = int.from_bytes(await reader.readexactly(2), "big")
                query = await reader.readexactly(size)
            answer = await self._answer(query, wire.OVER_TCP)
            if answer is None:
                return
            writer.write(len(answer).to_bytes(2, "big") + answer)
            await writer.drain()

    async def _answer(self, query: bytes, limit: int | None = None) -> bytes | None:
        try:
            question = wire.read_question(query)
        except wire.Malformed as error:
            log.debug("what came to the name server is no query: %s", error)
            return None
        if limit is not None:
            question = replace(question, udp_limit=limit)
        try:
            async with asyncio.timeout(self.deadline):
                answer = await self.resolve(query, limit is not None)
            return wire.for_asker(query, question, answer)
        except (OSError, TimeoutError, TelepresenceError, wire.Malformed) as error:
            log.debug("no answer for %s: %s", question, error)
            return wire.failure(query, question)
