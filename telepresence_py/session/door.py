"""The session's end of the door: messages of its CLI in, news and requests out; trio."""

from __future__ import annotations

import math
import os
import socket
from array import array
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import trio

from telepresence_py.model.door import (
    ChildEnded,
    ChildStarted,
    Confirm,
    Confirmed,
    ContainerBinds,
    DoorError,
    FromCli,
    FromSession,
    Lines,
    News,
    Opening,
    PluginEnded,
    Run,
    RunPlugin,
    StartChild,
    Stop,
    StopChild,
    Swap,
    decode_from_cli,
    encode,
)
from telepresence_py.model.errors import BadUsage, InternalError
from telepresence_py.model.events import Event
from telepresence_py.model.plugin import PluginCall, PluginEnd

_CHUNK = 1 << 16


class CliGone(Exception):
    """The CLI asked for the end, or is not there any more; the text says which, for the log."""


class Door:
    """What the session may ask of its CLI. Made by `open_door`, which closes it.

    `child_status` is None until the child ended, then its exit code or minus its signal. `stop_reason` is
    None until the CLI asked for the end or went away.
    """

    def __init__(self, sock: trio.socket.SocketType) -> None:
        self._sock = sock
        self._outbox, self._to_send = trio.open_memory_channel[tuple[FromSession, tuple[int, ...]]](math.inf)
        self._heard: set[type] = set()
        self._news = trio.Condition()
        self._before_child = trio.CancelScope()
        self._opening: Opening | None = None
        self._terminal = trio.Lock()
        self._child_asked_for = False
        self._plugin_end: PluginEnd | None = None
        self.child_status: int | None = None
        self.stop_reason: str | None = None

    def report(self, event: Event) -> None:
        """Tell the user; never blocks, and is silent once the CLI is gone."""
        self.post(News(event))

    def post(self, message: FromSession, descriptors: tuple[int, ...] = ()) -> None:
        """Send a message, and descriptors that stay the caller's, as soon as the ones before it are sent."""
        # the caller's may be closed by then, as when the session ends in this very moment
        copies = tuple(map(os.dup, descriptors))
        try:
            self._outbox.send_nowait((message, copies))
        except trio.BrokenResourceError:  # the CLI is gone: nobody to tell
            _close(copies)

    async def opening(self) -> Opening:
        """The first message; raises CliGone when there is none."""
        await self._wait_for(Swap, Run)
        if self._opening is None:
            raise InternalError("the session process was not told what to do; please report this as a bug")
        return self._opening

    async def confirm(self, question: str, refusal: str) -> None:
        """Return when the user says yes; CliGone otherwise."""
        self.post(Confirm(question, refusal))
        await self._wait_for(Confirmed)

    @property
    def child_has_terminal(self) -> bool:
        return self._child_asked_for and ChildEnded not in self._heard

    async def run_plugin(self, call: PluginCall) -> PluginEnd | None:
        """Have the CLI run a credential plugin on the user's terminal, one at a time.

        None when the terminal is the child's, or the CLI is gone. CliGone when the CLI asks for the end
        meanwhile, unless there is something to restore, for which the credentials are needed.
        """
        async with self._terminal, self._news:
            if self.child_has_terminal or self.stop_reason == "end of file":
                return None
            restoring = self._child_asked_for or self.stop_reason is not None
            self._plugin_end = None
            self.post(RunPlugin(call))
            while self._plugin_end is None:
                if self.stop_reason is not None and not restoring:
                    raise CliGone(self.stop_reason)
                if self.stop_reason == "end of file":
                    return None
                await self._news.wait()
            return self._plugin_end

    async def start_child(
        self,
        environment: dict[str, str],
        namespaces: Mapping[str, int],
        container: ContainerBinds | None = None,
    ) -> None:
        """Ask for the child and wait until it runs, or could not be executed (`child_status` tells).

        `namespaces` maps user, net, uts, mnt, pid to descriptors, which stay the caller's.
        """
        async with self._terminal:
            self._child_asked_for = True
        self._before_child.cancel()
        request = StartChild(environment, tuple(namespaces), container)
        self.post(request, tuple(namespaces.values()))
        await self._wait_for(ChildStarted, ChildEnded)

    async def wait_child_ended(self) -> None:
        """Return when the child ended; CliGone when the CLI asks for the end first."""
        await self._wait_for(ChildEnded)

    async def watch_for_stop(self) -> None:
        """CliGone as soon as the CLI asks for the end or goes away, until the child is asked for.

        From then on the waiting calls alone raise it: what ends the session must not cut the tunnels that the
        restore hands connections over by.
        """
        with self._before_child:
            async with self._news:
                while self.stop_reason is None:
                    await self._news.wait()
            raise CliGone(self.stop_reason)

    async def stop(self, reason: str) -> None:
        """As if the CLI had asked for the end."""
        await self._note(Stop(reason))

    async def stop_child(self, grace_seconds: float) -> None:
        """End the child by SIGTERM, then SIGKILL; returns when it ended or the CLI is gone."""
        if ChildStarted not in self._heard or self.child_status is not None:
            return
        self.post(StopChild(grace_seconds))
        with trio.move_on_after(grace_seconds + 5):
            async with self._news:
                while self.child_status is None and self.stop_reason != "end of file":
                    await self._news.wait()

    async def _wait_for(self, *kinds: type) -> None:
        async with self._news:
            while not self._heard.intersection(kinds):
                if self.stop_reason is not None:
                    raise CliGone(self.stop_reason)
                await self._news.wait()

    async def _receive(self) -> None:
        lines = Lines()
        while True:
            try:
                data = await self._sock.recv(_CHUNK)
            except OSError:
                data = b""
            if not data:
                await self._note(Stop("end of file"))
                return
            for line in lines.feed(data):
                try:
                    await self._note(decode_from_cli(line))
                except DoorError as error:
                    raise BadUsage(f"the command line and its session process differ: {error}") from error

    async def _note(self, message: FromCli) -> None:
        async with self._news:
            self._heard.add(type(message))
            match message:
                case Swap() | Run():
                    self._opening = message
                case PluginEnded(end):
                    self._plugin_end = end
                case ChildEnded(status):
                    self.child_status = status
                case Stop(reason):
                    self.stop_reason = reason
            self._news.notify_all()

    async def _send(self) -> None:
        async with self._to_send:
            async for message, descriptors in self._to_send:
                try:
                    await self._send_one(encode(message), descriptors)
                except OSError:
                    return
                finally:
                    _close(descriptors)

    async def _send_one(self, line: bytes, descriptors: tuple[int, ...]) -> None:
        rest = memoryview(line)
        if descriptors:
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors))]
            rest = rest[await self._sock.sendmsg([line], ancillary) :]
        while rest:
            rest = rest[await self._sock.send(rest) :]

    def _finish(self) -> None:
        """Nothing more will be posted: the sender ends when all is said."""
        self._outbox.close()


def _close(descriptors: tuple[int, ...]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


@asynccontextmanager
async def open_door(sock: socket.socket) -> AsyncIterator[Door]:
    """Serve the door on a stream socket, which is closed at the end; what was posted is sent first."""
    sock.setblocking(False)
    with trio.socket.from_stdlib_socket(sock) as end:
        door = Door(end)
        async with trio.open_nursery() as talking:
            talking.start_soon(door._send)
            try:
                async with trio.open_nursery() as listening:
                    listening.start_soon(door._receive)
                    yield door
                    listening.cancel_scope.cancel()
            finally:
                door._finish()
                # a stopped CLI (^Z) does not read: its session ends all the same
                talking.cancel_scope.deadline = trio.current_time() + 2
