"""Answers the child's DNS datagrams by the pod's own name servers.

Only UDP comes here: DNS over TCP is an ordinary connection to the name server and needs nobody's help.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from telepresence_py.dns import wire
from telepresence_py.model.errors import TelepresenceError

log = logging.getLogger(__name__)

Resolve = Callable[[bytes], Awaitable[bytes]]
"""Sends one raw query to the pod's name servers and returns the raw answer, however large."""


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
        """None when the datagram is no DNS query: such a thing gets no answer."""
        try:
            question = wire.read_question(query)
        except wire.Malformed as error:
            log.debug("a datagram to the name server is no query: %s", error)
            return None
        try:
            async with asyncio.timeout(self.deadline):
                answer = await self.resolve(query)
            return wire.for_asker(query, question, answer)
        except (OSError, TimeoutError, TelepresenceError, wire.Malformed) as error:
            log.debug("no answer for %s: %s", question, error)
            return wire.failure(query, question)
