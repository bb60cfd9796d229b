"""The method "userns": user, network, mount, host name and process namespaces, TPROXY; rootless.

This is the session's side. The agent, a small process of its own, makes the namespaces (a process with
threads cannot) and hands out what is needed of them.
"""

from __future__ import annotations

import os
import socket
from array import array
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Protocol

import trio

from telepresence_py.isolation.facts import laptop_file
from telepresence_py.isolation.inside import Inside, receive_packet
from telepresence_py.isolation.messages import Broken, Handed, Ready, Refused, decode, encode_view
from telepresence_py.isolation.names import HOSTNAME, NSSWITCH, name_files
from telepresence_py.isolation.steps import StepRefused
from telepresence_py.model.errors import InternalError
from telepresence_py.model.network import NetworkView
from telepresence_py.process.own_program import start_own_program

_SET_UP_SECONDS = 20.0
_END_SECONDS = 5.0


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
    start: Callable[[socket.socket], AgentProcess] = start_agent,
) -> AsyncIterator[Inside]:
    """Make the namespaces; they, and every process in them, are gone when this is left.

    `notice` is told sentences about what is less than perfect. StepRefused names the step that the kernel
    refused.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        agent = start(theirs)
    control = trio.socket.from_stdlib_socket(ours)
    try:
        with trio.fail_after(_SET_UP_SECONDS):
            await _send_view(control, view)
            handed = await _receive_all(control, notice)
        inside = Inside(agent.pid, control, handed)
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
            await _end(agent)


async def _send_view(control: trio.socket.SocketType, view: NetworkView) -> None:
    found = {path: content for path in (NSSWITCH, HOSTNAME) if (content := laptop_file(path)) is not None}
    complete = replace(view, files=name_files(view, found))
    fd = _in_memory(encode_view(complete))
    try:
        await control.sendmsg([b"view"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [fd]))])
    finally:
        os.close(fd)


def _in_memory(content: bytes) -> int:
    """A file with that content, on no disk: secrets are in it."""
    fd = os.memfd_create("view")
    with open(fd, "wb", closefd=False) as file:
        file.write(content)
    return fd


async def _receive_all(
    control: trio.socket.SocketType, notice: Callable[[str], None]
) -> dict[str, list[int]]:
    handed: dict[str, list[int]] = {}
    try:
        while (packet := await receive_packet(control)) is not None:
            data, descriptors = packet
            match decode(data):
                case Handed(names):
                    for name, descriptor in zip(names, descriptors, strict=True):
                        handed.setdefault(name, []).append(descriptor)
                case Ready(notices):
                    for text in notices:
                        notice(text)
                    return handed
                case Refused(refusal):
                    raise StepRefused(refusal)
                case Broken(traceback):
                    raise InternalError(
                        f"the namespace agent failed; this is a bug, please report it:\n{traceback}"
                    )
        raise InternalError("the namespace agent ended without a word; this is a bug, please report it")
    except BaseException:
        for descriptors in handed.values():
            for descriptor in descriptors:
                os.close(descriptor)
        raise


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
    with trio.move_on_after(_END_SECONDS) as deadline:
        await trio.lowlevel.wait_readable(agent.descriptor)
    if deadline.cancelled_caught:
        agent.kill()
    agent.finish()
