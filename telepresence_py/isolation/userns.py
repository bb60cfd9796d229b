"""The methods "userns" and "redirect": user, network, mount, host name and process namespaces; rootless.
What differs is how connections are captured: by TPROXY, or (`NetworkView.redirected`) by NAT.

This is the session's side. The agent, a small process of its own, makes the namespaces (a process with
threads cannot) and hands out what is needed of them.
"""

from __future__ import annotations

import os
import socket
from array import array
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Protocol

import trio

from telepresence_py.isolation import serve_none
from telepresence_py.isolation.contract import ROOT
from telepresence_py.isolation.facts import laptop_file
from telepresence_py.isolation.inside import Inside, receive_packet
from telepresence_py.isolation.messages import (
    Born,
    Broken,
    Handed,
    Message,
    Ready,
    Refused,
    decode,
    encode_view,
)
from telepresence_py.isolation.names import HOSTNAME, NSSWITCH, name_files
from telepresence_py.isolation.steps import StepRefused
from telepresence_py.model.errors import InternalError
from telepresence_py.model.world import NetworkView
from telepresence_py.process.own_program import OwnProgram, start_own_program

LIVE = "live:"
_SET_UP_SECONDS = 20.0
_END_SECONDS = 5.0
_KILLED_SECONDS = 1.0
_SILENT = "the namespace agent ended without a word; this is a bug, please report it"


class AgentSilent(InternalError):
    """The agent ended before it said anything."""


class AgentProcess(Protocol):
    """What is needed of the agent's process; `OwnProgram` is one."""

    pid: int
    descriptor: int

    def kill(self) -> None: ...

    def finish(self) -> int: ...


def start_agent(control: socket.socket) -> AgentProcess:
    return start_own_program("telepresence_py.isolation.agent", control.fileno())


@asynccontextmanager
async def enter(
    view: NetworkView,
    notice: Callable[[str], None],
    serve: Callable[[str, int], None] = serve_none,
    start: Callable[[socket.socket], AgentProcess] = start_agent,
    heir: Callable[[int], AgentProcess] = OwnProgram,
    made: int | None = None,
) -> AsyncIterator[Inside]:
    """Make the namespaces; they, and every process in them, are gone when this is left. `made` is a user
    namespace to be used instead of a new one, and stays the caller's.

    `notice` is told sentences about what is less than perfect. `serve(path, descriptor)` answers the kernel
    for that live volume from then on; the descriptor is its to close. `heir(pid)` is the process that goes on
    as the agent, or what `start` gave where that ends with it. StepRefused names the step that the kernel
    refused, AgentSilent is raised when nothing was heard of the agent.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        running = [start(theirs)]
    control = trio.socket.from_stdlib_socket(ours)
    try:
        with trio.fail_after(_SET_UP_SECONDS):
            try:
                await _send_view(control, view, made)
            except OSError as error:
                raise AgentSilent(_SILENT) from error
            agent = heir(await _receive_birth(control))
            if agent is not running[0]:
                running.append(agent)
                with trio.CancelScope(shield=True):
                    await _end(running.pop(0))
            handed = await _receive_all(control, notice, serve)
        inside = Inside(running[0].pid, control, handed)
        if view.prefix:
            inside.variables = {ROOT: view.prefix}
        try:
            async with _watched(inside):
                yield inside
        finally:
            inside.close()
    finally:
        with suppress(OSError):
            # tells the agent even if somebody was forked who holds the socket too
            control.shutdown(socket.SHUT_RDWR)
        control.close()
        with trio.CancelScope(shield=True):
            for agent in running:
                await _end(agent)


async def _send_view(control: trio.socket.SocketType, view: NetworkView, made: int | None) -> None:
    if not view.container:  # which has an nsswitch.conf of its own
        found = {path: content for path in (NSSWITCH, HOSTNAME) if (content := laptop_file(path)) is not None}
        view = view._replace(files=name_files(view, found))
    fd = _in_memory(encode_view(view))
    descriptors = array("i", [fd] if made is None else [fd, made])
    try:
        await control.sendmsg([b"view"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
    finally:
        os.close(fd)


def _in_memory(content: bytes) -> int:
    """A file with that content, on no disk: secrets are in it."""
    fd = os.memfd_create("view")
    with open(fd, "wb", closefd=False) as file:
        file.write(content)
    return fd


async def _receive_birth(control: trio.socket.SocketType) -> int:
    """The pid of the agent proper."""
    match await _receive(control):
        case Born(pid), _:
            return pid
        case message, _:
            raise InternalError(f"the namespace agent began with {message}; this is a bug, please report it")


async def _receive_all(
    control: trio.socket.SocketType, notice: Callable[[str], None], serve: Callable[[str, int], None]
) -> dict[str, list[int]]:
    handed: dict[str, list[int]] = {}
    try:
        while True:
            match await _receive(control):
                case Handed(names), descriptors:
                    for name, descriptor in zip(names, descriptors, strict=True):
                        if name.startswith(LIVE):
                            serve(name.removeprefix(LIVE), descriptor)
                            continue
                        handed.setdefault(name, []).append(descriptor)
                case Ready(notices), _:
                    for text in notices:
                        notice(text)
                    return handed
    except BaseException:
        for descriptors in handed.values():
            for descriptor in descriptors:
                os.close(descriptor)
        raise


async def _receive(control: trio.socket.SocketType) -> tuple[Message, list[int]]:
    """What the agent says, with its descriptors, unless it is its last word."""
    packet = await receive_packet(control)
    if packet is None:
        raise AgentSilent(_SILENT)
    match decode(packet[0]):
        case Refused(refusal):
            raise StepRefused(refusal)
        case Broken(traceback):
            raise InternalError(f"the namespace agent failed; this is a bug, please report it:\n{traceback}")
        case message:
            return message, packet[1]


@asynccontextmanager
async def _watched(inside: Inside) -> AsyncIterator[None]:
    """Runs `inside.watch` beside the body; what the body raises comes out as it is, not in a group."""
    raised: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(inside.watch)
            yield
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) > 1:
            raise
        raised = group.exceptions[0]
    if raised is not None:
        raise raised


async def _end(agent: AgentProcess) -> None:
    """The agent ends by itself when its socket does, and takes all processes inside along."""
    if not await _ended(agent, _END_SECONDS):
        agent.kill()
        if not await _ended(agent, _KILLED_SECONDS):
            return  # the kernel keeps it as long as somebody, stopped perhaps, does not wait for the command
    agent.finish()


async def _ended(agent: AgentProcess, seconds: float) -> bool:
    with trio.move_on_after(seconds):
        await trio.lowlevel.wait_readable(agent.descriptor)
        return True
    return False
