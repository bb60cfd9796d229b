"""The child's queries where rules name names: some are the laptop's to answer, and all answers are read."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from telepresence_py.dns import wire
from telepresence_py.dns.forwarder import Resolve
from telepresence_py.dns.names import RuledNames
from telepresence_py.model.rules import Rule

ANSWER_SECONDS = 5
"""For which the child may keep what the laptop's resolver said, which does not tell how long it holds."""

_NO_SUCH_NAME = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))

Learn = Callable[[Rule, str, float], None]
"""learn(rule, address, seconds): a name under the rule has this address for so long."""


@dataclass(frozen=True)
class RuledResolve:
    """`await resolve(query, whole)`, for a Forwarder. `laptop_addresses` raises socket.gaierror.

    A name under `--via-laptop` is never asked of the pod. It has addresses and no other records; one that the
    laptop does not know does not exist.
    """

    by_pod: Resolve
    names: RuledNames
    laptop_addresses: Callable[[str], Awaitable[list[str]]]
    learn: Learn

    async def __call__(self, query: bytes, whole: bool) -> bytes:
        question = wire.read_question(query)
        laptop_name = self.names.for_laptop(question.name)
        if laptop_name is None:
            answer = await self.by_pod(query, whole)
        else:
            answer = await self._by_laptop(query, question, laptop_name)
        # before the child has it: its next step may be the connection
        for name, address, seconds in wire.addresses_told(answer):
            for rule in self.names.naming(name):
                self.learn(rule, address, seconds)
        return answer

    async def _by_laptop(self, query: bytes, question: wire.Question, name: str) -> bytes:
        try:
            addresses = await self.laptop_addresses(name)
        except socket.gaierror as error:
            if error.errno in _NO_SUCH_NAME:
                return wire.failure(query, question, wire.NO_SUCH_NAME)
            raise
        except UnicodeError:  # no name that the system's resolver could look up
            return wire.failure(query, question, wire.NO_SUCH_NAME)
        return wire.addresses_answer(query, question, addresses, ANSWER_SECONDS)
