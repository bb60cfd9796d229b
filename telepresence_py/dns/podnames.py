"""The pod's name servers as the child's queries meet them: what is known is not asked, what is being asked is
not asked twice, and the rest of a search path comes with its first name."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from telepresence_py.dns.keeping import AnswerStore, is_about, is_plain
from telepresence_py.dns.search import SearchPath
from telepresence_py.model.errors import TelepresenceError
from telepresence_py.system import seconds_awake_or_not
from telepresence_sidecar.contract.names import Inquiry

log = logging.getLogger(__name__)

SHARED_SECONDS = 2.0
"""After so long a silence a question is asked anew: its way may be a dead one. Resolvers wait longer before
they repeat themselves (musl 2.5 s, glibc 5 s)."""

MOST_ASKED = 4096
"""Questions under way of which others may have the answer; further ones are asked for themselves alone."""

Ask = Callable[[Inquiry, Callable[[bytes], None]], Awaitable[None]]
"""ask(inquiry, on_answer): calls on_answer for each answer, in the inquiry's order, and returns at the end;
OSError when there is none."""


@dataclass
class _Asked:
    """`answer` is None when the walk ended before this name, an error when nobody could be asked; `heard` is
    when it was asked for, or when the walk before it was last heard of."""

    heard: float
    answer: asyncio.Future[bytes | Exception | None] = field(default_factory=asyncio.Future)

    def tell(self, answer: bytes | Exception | None) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)


class PodNames:
    """`await names(query, whole)`, for a Forwarder: the pod's answer. OSError and TelepresenceError as `ask`
    raises them. Names that `is_left_out` are never asked for unless they are queried themselves."""

    def __init__(
        self,
        ask: Ask,
        path: SearchPath,
        is_left_out: Callable[[str], bool] = lambda name: False,
        clock: Callable[[], float] = seconds_awake_or_not,  # answers grow old while the laptop sleeps, too
    ) -> None:
        self._ask = ask
        self._path = path
        self._is_left_out = is_left_out
        self._clock = clock
        self._store = AnswerStore()
        self._asked: dict[tuple[bytes, bool], _Asked] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, query: bytes, whole: bool) -> bytes:
        if (known := self._store.get(query, self._clock())) is not None:
            return known
        asked = self._asked.get((query[2:], whole))
        if asked is not None and self._clock() - asked.heard < SHARED_SECONDS:
            answer = await asyncio.shield(asked.answer)
            if answer is not None:
                return _given(query, answer)
        answer = await asyncio.shield(self._begin(query, whole).answer)
        return _given(query, answer)

    def _begin(self, query: bytes, whole: bool) -> _Asked:
        """Asks for it, and for what follows on the search path."""
        if is_plain(query):
            inquiry = self._path.inquiry(query, whole, self._is_left_out)
        else:
            inquiry = Inquiry(query, whole=whole)
        first = _Asked(self._clock())
        under_way = {each: _Asked(first.heard) for each in inquiry.queries()} | {query: first}
        if len(self._asked) + len(under_way) <= MOST_ASKED:
            self._asked |= {(each[2:], whole): asked for each, asked in under_way.items()}
        task = asyncio.get_running_loop().create_task(self._run(inquiry, under_way))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return first

    async def _run(self, inquiry: Inquiry, under_way: dict[bytes, _Asked]) -> None:
        queries = iter(under_way.items())

        def answered(answer: bytes) -> None:
            for each in under_way.values():
                each.heard = self._clock()
            for query, asked in queries:
                if query == inquiry.query or is_about(query, answer):
                    self._store.put(query, answer, self._clock())
                    asked.tell(answer)
                    self._forget(query, inquiry.whole, asked)
                    return
                asked.tell(None)  # its answer was lost: the tunnel may drop a datagram

        failure: Exception = OSError("the pod ended without an answer")
        try:
            await self._ask(inquiry, answered)
        except (OSError, TelepresenceError) as error:
            failure = error
        finally:
            under_way[inquiry.query].tell(failure)
            for query, asked in under_way.items():
                asked.tell(None)
                self._forget(query, inquiry.whole, asked)

    def _forget(self, query: bytes, whole: bool, asked: _Asked) -> None:
        if self._asked.get((query[2:], whole)) is asked:
            del self._asked[query[2:], whole]


def _given(query: bytes, answer: bytes | Exception | None) -> bytes:
    if isinstance(answer, Exception):
        raise answer
    assert answer is not None, "a question of its own has an answer or an error"
    return query[:2] + answer[2:]
