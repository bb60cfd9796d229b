"""The connection to one cluster: raw JSON through the library's connections, in worker threads under trio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from functools import partial

import trio

from telepresence_py.cluster.calls import Call, Where
from telepresence_py.cluster.exchange import Exchange, Lines, NoAnswer, RawAnswer
from telepresence_py.cluster.kubeconfig import Access, load_access
from telepresence_py.cluster.refusals import Answer, explain, unreachable
from telepresence_py.model.intent import ClusterChoice
from telepresence_py.model.plugin import RunPlugin

TRIES = 4
FIRST_PAUSE_SECONDS = 0.2
BUSY = frozenset({429, 500, 502, 503, 504})


class Cluster:
    """`context`, `namespace` and `server` are the ones chosen; every request goes to that namespace."""

    def __init__(self, access: Access, exchange: Exchange) -> None:
        self.context = access.context
        self.namespace = access.namespace
        self.server = access.server
        self.where = Where(access.context, access.namespace, access.server)
        self.access = access
        self.exchange = exchange
        self._limiter = trio.CapacityLimiter(16)
        self._stream_limiter = trio.CapacityLimiter(64)

    async def call(self, call: Call, accept: Collection[int] = ()) -> Answer:
        """The answer if it is a success or its status is in `accept`; raises the error that explains it else.

        A broken connection and a busy server are tried again a few times, changes too: so a change may be
        carried out twice, and a `create` whose first answer was lost meets its own object as 409. Changes
        are never abandoned half way by a cancellation, unless they may be; a try ends within about 20 s.
        """
        pause = FIRST_PAUSE_SECONDS
        for attempt in range(1, TRIES + 1):
            last = attempt == TRIES
            try:
                raw = await self._in_thread(call)
            except NoAnswer as error:
                if last or error.final:
                    raise unreachable(self.where, str(error)) from error
            else:
                answer = Answer(raw.status, raw.json)
                if raw.status < 300 or raw.status in accept:
                    return answer
                if last or raw.status not in BUSY or "webhook" in answer.message:
                    raise explain(call, self.where, answer)
                pause = min(max(pause, raw.retry_after or 0), 5.0)
            await trio.sleep(pause)
            pause *= 2
        raise AssertionError("unreachable")

    async def follow(self, call: Call, on_line: Callable[[bytes], bool]) -> Answer:
        """Pass the lines of a watch or log to `on_line`, on trio's thread, until it returns True or they end.

        The answer's status is 200 then, else the refusal, which is not raised. NoAnswer when the connection
        breaks. Cancellable at any time.
        """
        opened: list[Lines] = []
        try:
            return await trio.to_thread.run_sync(
                partial(self._read_lines, call, on_line, opened),
                abandon_on_cancel=True,
                limiter=self._stream_limiter,
            )
        finally:
            for lines in opened:
                lines.close()

    async def _in_thread(self, call: Call) -> RawAnswer:
        return await trio.to_thread.run_sync(
            self.exchange.send,
            call,
            self.namespace,
            abandon_on_cancel=call.abandonable or not call.changes_something,
            limiter=self._limiter,
        )

    def _read_lines(self, call: Call, on_line: Callable[[bytes], bool], opened: list[Lines]) -> Answer:
        lines = self.exchange.open_lines(call, self.namespace)
        opened.append(lines)
        try:
            trio.from_thread.check_cancelled()  # nobody looked at `opened` any more if we were left meanwhile
            if lines.status >= 300:
                return Answer(lines.status, lines.whole())
            for line in lines:
                if trio.from_thread.run_sync(on_line, line):
                    break
        finally:
            lines.close()
        return Answer(lines.status, {})


@asynccontextmanager
async def open_cluster(choice: ClusterChoice, run_plugin: RunPlugin) -> AsyncIterator[Cluster]:
    """Read the kubeconfig and get credentials ready, for which `run_plugin` may be called, now and later.

    No request is made to the server. Raises what `load_access` raises, and ClusterUnreachable when the
    credentials are not to be had.
    """
    access = await trio.to_thread.run_sync(load_access, choice, abandon_on_cancel=True)
    exchange = Exchange(access, run_plugin)
    try:
        await trio.to_thread.run_sync(exchange.connections.way, abandon_on_cancel=True)
        yield Cluster(access, exchange)
    finally:
        exchange.close()
