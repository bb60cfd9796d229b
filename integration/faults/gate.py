"""A gate before an API server, which holds the client at one step of what it asks for.

    with Gate(kubeconfig) as gate:
        gate.hold_at(Step("adopt", 2, answered=True))
        product with gate.through(kubeconfig)
        gate.reached.is_set()       # the second adoption is done, and its client has not heard of it
        gate.let_go()               # or gate.drop()

All that outlives a session in the cluster is made by requests, so "before the Kth request" and "after it" are
all the moments at which a death can leave something different there. HTTP/1.1 without TLS to the client, in a
thread of ours.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
import ssl
import threading
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

WRITES = ("create", "adopt", "release", "delete")
"""What leaves something in the cluster; while one is held the others wait, too."""

_PODS = re.compile(
    r"/api/v1/namespaces/[^/]+/pods(?:/(?P<name>[^/?]+))?(?:/(?P<part>[^/?]+))?(?:\?(?P<query>.*))?$"
)
_PIECE = 1 << 16


@dataclass(frozen=True)
class Step:
    """The `number`th request of a kind (`kind_of`): on its way to the server or, `answered`, its answer on
    the way back."""

    kind: str
    number: int
    answered: bool = False


@dataclass(frozen=True)
class Head:
    """The first line of a request or an answer, and what must be known of its header."""

    raw: bytes
    first: list[str]
    length: int | None
    chunked: bool

    @classmethod
    def parse(cls, raw: bytes) -> Head:
        first, *lines = raw.decode("latin-1").split("\r\n")
        fields = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
        }
        length = fields.get("content-length")
        return cls(
            raw,
            first.split(" ", 2),
            None if length is None else int(length),
            "chunked" in fields.get("transfer-encoding", "").lower(),
        )


def kind_of(method: str, target: str, body: bytes) -> str:
    """PURE: create, adopt, release, delete, rehearse, log or forward, all of pods; empty for all else."""
    found = _PODS.match(target)
    if found is None:
        return ""
    if found["part"] is not None:
        return {"log": "log", "portforward": "forward"}.get(found["part"], "")
    if method == "POST":
        return "rehearse" if "dryRun" in (found["query"] or "") else "create"
    if method == "PATCH":
        metadata = json.loads(body)["metadata"]
        if "ownerReferences" not in metadata:
            return ""
        return "adopt" if metadata["ownerReferences"] is None else "release"
    return "delete" if method == "DELETE" else ""


class Gate:
    """Started by `with`. Requests come to `port` on 127.0.0.1 and go on to the server of that kubeconfig.

    After `strand` nothing moves any more on the connections that stand, which stay open on the server's side,
    and new ones end at once, until `mend`.
    """

    port: int

    def __init__(self, kubeconfig: dict[str, Any]) -> None:
        entry = kubeconfig["clusters"][0]["cluster"]
        url = urlsplit(entry["server"])
        assert url.hostname is not None
        self._place = (url.hostname, url.port or 443)
        self._tls = ssl.create_default_context(
            cadata=base64.b64decode(entry["certificate-authority-data"]).decode()
        )
        # as with kubectl, a token in a kubeconfig is not for servers without TLS
        self._login = f"Authorization: Bearer {kubeconfig['users'][0]['user']['token']}".encode()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._serving: set[asyncio.Task[None]] = set()
        self._step: Step | None = None
        self._answer_of_held: asyncio.Future[bool] | None = None
        self._stranded = False
        self._seen: Counter[str] = Counter()
        self.reached = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        async def end() -> None:
            self._server.close()
            await self._end_connections()

        self._do(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def through(self, kubeconfig: dict[str, Any]) -> dict[str, Any]:
        """The same kubeconfig, its first cluster by this gate."""
        content: dict[str, Any] = json.loads(json.dumps(kubeconfig))
        content["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{self.port}"}
        return content

    def hold_at(self, step: Step | None) -> None:
        """Count anew, and hold at that step (None: nowhere)."""

        async def begin() -> None:
            self._step, self._answer_of_held = step, None
            self._seen.clear()
            self.reached.clear()

        self._do(begin())

    def let_go(self) -> None:
        """What is held goes on, and so does all that came after it."""
        self._do(self._decide(goes_on=True))

    def drop(self) -> None:
        """What is held never arrives, and neither does what came after it."""
        self._do(self._decide(goes_on=False))

    def strand(self) -> None:
        async def strand() -> None:
            self._stranded = True

        self._do(strand())

    def mend(self) -> None:
        async def mend() -> None:
            self._stranded = False
            await self._end_connections()

        self._do(mend())

    # -- on the thread ---------------------------------------------------------------------------------

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _decide(self, *, goes_on: bool) -> None:
        self._step = None
        if self._answer_of_held is not None:
            self._answer_of_held.set_result(goes_on)
            self._answer_of_held = None

    async def _end_connections(self) -> None:
        ending = tuple(self._serving)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        ends = [writer]
        try:
            if not self._stranded:
                up_reader, up_writer = await asyncio.open_connection(*self._place, ssl=self._tls)
                ends.append(up_writer)
                await self._relay(reader, writer, up_reader, up_writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            for end in ends:
                end.transport.abort()
            self._serving.discard(task)

    async def _relay(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        up_reader: asyncio.StreamReader,
        up_writer: asyncio.StreamWriter,
    ) -> None:
        """Requests, one after the other, until either side ends or one of them becomes a stream."""
        while True:
            request = Head.parse(await reader.readuntil(b"\r\n\r\n"))
            body = b"".join([piece async for piece in _body(reader, request, until_end=False)])
            kind = kind_of(request.first[0], request.first[1], body)
            number = await self._pass(kind)
            first, rest = request.raw.split(b"\r\n", 1)
            await _send(up_writer, b"\r\n".join((first, self._login, rest)) + body)
            answer = Head.parse(await up_reader.readuntil(b"\r\n\r\n"))
            upgraded = answer.first[1] == "101"
            if upgraded or kind in WRITES:
                pieces = [] if upgraded else [piece async for piece in _body(up_reader, answer)]
                await self._pass_back(Step(kind, number, answered=True))
                await _send(writer, answer.raw + b"".join(pieces))
            else:
                await _send(writer, answer.raw)
                async for piece in _body(up_reader, answer):
                    await _send(writer, piece)
            if upgraded:
                await self._pump_both(reader, writer, up_reader, up_writer)
                return

    async def _pass(self, kind: str) -> int:
        """Its number, once it may go on to the server."""
        self._seen[kind] += 1
        number = self._seen[kind]
        if self._answer_of_held is not None and kind in WRITES:
            await self._wait(self._answer_of_held)
        await self._pass_back(Step(kind, number))
        return number

    async def _pass_back(self, step: Step) -> None:
        if step == self._step and self._answer_of_held is None:
            self._answer_of_held = self._loop.create_future()
            self.reached.set()
            await self._wait(self._answer_of_held)

    async def _wait(self, answer: asyncio.Future[bool]) -> None:
        if not await asyncio.shield(answer):
            raise ConnectionAbortedError

    async def _pump_both(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        up_reader: asyncio.StreamReader,
        up_writer: asyncio.StreamWriter,
    ) -> None:
        ways = (self._pump(reader, up_writer), self._pump(up_reader, writer))
        tasks = [asyncio.create_task(way) for way in ways]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if self._stranded:
                await asyncio.Event().wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await source.read(_PIECE):
                if self._stranded:
                    await asyncio.Event().wait()
                await _send(sink, piece)


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


async def _body(reader: asyncio.StreamReader, head: Head, *, until_end: bool = True) -> AsyncIterator[bytes]:
    """As it comes, with its framing (RFC 9112, 6); `until_end` where the end of the stream may be its end."""
    if head.chunked:
        size = -1
        while size:
            line = await reader.readline()
            size = int(line.split(b";")[0], 16)
            yield line + await reader.readexactly(size + 2)
    elif head.length is not None:
        left = head.length
        while left:
            piece = await reader.read(min(left, _PIECE))
            if not piece:
                raise ConnectionResetError
            left -= len(piece)
            yield piece
    elif until_end and head.first[1] not in ("101", "204", "304"):
        while piece := await reader.read(_PIECE):
            yield piece
