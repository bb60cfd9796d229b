"""A program run in a container of a pod by the API server's exec over WebSocket: what it wrote and how it
ended.

Subprotocols v5.channel.k8s.io and v4.channel.k8s.io (KEP-4006): the first byte of each message is its
channel. 1 is what the program writes, 2 its stderr, 3 at the end a Status object in JSON. Nothing is sent, so
the one thing in which the two differ, how the end of stdin is told, does not matter here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass

from telepresence_py.model.errors import ClusterUnreachable, NoRights, PreconditionFailed
from telepresence_py.model.network import WebSocketTarget
from telepresence_py.tunnel.lean_picows import load_picows
from telepresence_py.tunnel.websocket import (
    DialFailed,
    not_accepted,
    open_websocket,
    said_by,
    server_of,
    status_of,
)

load_picows()

from picows import WSFrame, WSHandshakeError, WSListener, WSMsgType, WSTransport  # noqa: E402

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
SILENCE_SECONDS = 30.0
"""A program that writes nothing for so long will not be waited for."""
MOST_ERR_BYTES = 64 << 10
TRIES = 3

_OUT, _ERR, _STATUS = 1, 2, 3
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126


@dataclass(frozen=True)
class Executed:
    """`code` is the exit code, None where the program could not be started, for `reason`. `out` is cut where
    it is longer than was wanted, and `is_cut` then."""

    code: int | None
    out: bytes
    err: str
    reason: str = ""
    is_cut: bool = False


async def execute(new_target: Callable[[], WebSocketTarget], most_bytes: int) -> Executed:
    """Runs what the target says, which is asked for anew at each try. Under asyncio.

    NoRights, ClusterUnreachable; PreconditionFailed when the pod or its container is not there. A connection
    that breaks is tried again: what is run must not change anything.
    """
    for attempt in range(1, TRIES + 1):
        target = await asyncio.to_thread(new_target)
        try:
            return await _once(target, most_bytes)
        except DialFailed as error:
            if attempt == TRIES:
                raise error.error from error
    raise AssertionError("unreachable")


async def _once(target: WebSocketTarget, most_bytes: int) -> Executed:
    heard = _Heard(most_bytes)
    transport = await open_websocket(target, lambda: heard, PROTOCOLS, _refused)
    try:
        await heard.wait_ended()
    finally:
        transport.disconnect(False)
    executed = heard.executed()
    if executed is None:
        raise DialFailed(
            ClusterUnreachable(
                f"the connection to the API server at {server_of(target)} broke while a program in a pod was "
                "waited for; try again"
            )
        )
    return executed


class _Heard(WSListener):
    """What the messages say. `wait_ended` returns when nothing more is to come, or for too long came."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._channels = {_OUT: bytearray(), _ERR: bytearray(), _STATUS: bytearray()}
        self._channel = 0
        self._news = asyncio.Event()
        self._over = False
        self._is_cut = False

    async def wait_ended(self) -> None:
        while not self._over:
            self._news.clear()
            try:
                async with asyncio.timeout(SILENCE_SECONDS):
                    await self._news.wait()
            except TimeoutError:
                return

    def executed(self) -> Executed | None:
        """None when the end was not told."""
        out, err = bytes(self._channels[_OUT]), self._channels[_ERR].decode("utf-8", "replace")
        if self._is_cut:
            return Executed(0, out, err, is_cut=True)
        code, reason = _ending(bytes(self._channels[_STATUS]))
        if code is None and not reason:
            return None
        # some runtimes tell of a missing program like a shell
        could_not = code in (_NOT_FOUND, _NOT_EXECUTABLE)
        return Executed(None if could_not else code, out, err, reason or err.strip())

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.CLOSE:
            self._end()
        elif frame.msg_type is WSMsgType.BINARY or frame.msg_type is WSMsgType.CONTINUATION:
            payload = frame.get_payload_as_bytes()
            if frame.msg_type is WSMsgType.BINARY:
                self._channel, payload = (payload[0], payload[1:]) if payload else (0, b"")
            self._add(payload)
        self._news.set()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._end()

    def _add(self, payload: bytes) -> None:
        kept = self._channels.get(self._channel)
        if kept is None or self._is_cut:
            return
        kept += payload
        if self._channel == _OUT and len(kept) > self._most_bytes:
            self._is_cut = True
            self._end()
        elif self._channel == _ERR:
            del kept[MOST_ERR_BYTES:]

    def _end(self) -> None:
        self._over = True
        self._news.set()


def _ending(status: bytes) -> tuple[int | None, str]:
    """PURE: exit code and reason that a Status object tells; (None, "") when it is none."""
    try:
        told = json.loads(status)
        if told["status"] == "Success":
            return 0, ""
        if told.get("reason") == "NonZeroExitCode":
            causes = told["details"]["causes"]
            return next(int(one["message"]) for one in causes if one["reason"] == "ExitCode"), ""
        return None, " ".join(str(told.get("message") or told.get("reason") or "no reason").split())
    except (ValueError, KeyError, TypeError, StopIteration):
        return None, ""


def _refused(target: WebSocketTarget, error: WSHandshakeError) -> Exception:
    status, said = status_of(error), said_by(error)
    if status == 401:
        return not_accepted(target)
    if status == 403:
        return NoRights(f"a program in the pod was refused ({said}); ask for get and create pods/exec")
    if status in (400, 404):
        return PreconditionFailed(f"no program can be run in the pod ({said}); try again when it runs")
    return DialFailed(
        ClusterUnreachable(
            f"the API server at {server_of(target)} could not run a program in the pod ({said}); try again"
        )
    )
