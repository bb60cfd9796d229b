"""For tests with real namespaces: run as a plain user whoever runs the tests, and run things inside.

Everything is forked, never executed, so that a plain user needs to read no file of whoever runs the tests.
Modules that a forked process may want must therefore be imported beforehand, here or in the test.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401
import os
import pickle
import signal
import socket
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import pytest
import trio

from telepresence_py.isolation import agent, facts, userns
from telepresence_py.isolation.inside import Inside
from telepresence_py.model.world import NetworkView
from telepresence_py.process import kernel

PLAIN_ID = 12345
_PR_SET_DUMPABLE = 4
DEADLINE = 20.0

POD_V4, POD_V6 = "10.244.1.7", "fd00:10:244::7"
NAMESPACES = ("user", "net", "uts", "mnt", "pid")

each_user = pytest.mark.parametrize("user", ["plain", "root"] if os.geteuid() == 0 else ["plain"])

assert facts.gather().platform == "linux"


def view(**more: Any) -> NetworkView:
    """A pod with an address of each family, unless told otherwise."""
    return NetworkView(**({"hostname": "orders-7d4f", "addresses": (POD_V4, POD_V6)} | more))


def become_plain() -> None:
    """For a forked process: root no longer, as though it had logged in as somebody."""
    os.setgroups([])
    os.setresgid(PLAIN_ID, PLAIN_ID, PLAIN_ID)
    os.setresuid(PLAIN_ID, PLAIN_ID, PLAIN_ID)
    # a change of ids withholds our own /proc files from us; exec would give them back
    kernel.prctl(_PR_SET_DUMPABLE, 1)
    os.chdir("/")


def run_as(user: str, body: Callable[[], Any]) -> Any:
    """What `body` returns in a forked process of that user; its failure fails the test."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _report(writing, body if user == "root" or os.geteuid() != 0 else _plainly(body))
    os.close(writing)
    with open(reading, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(pid, 0)
    return _result(answer)


def run_trio_as(user: str, body: Callable[[], Awaitable[Any]]) -> Any:
    async def within_deadline() -> Any:
        with trio.fail_after(DEADLINE):
            return await body()

    return run_as(user, lambda: trio.run(within_deadline))


def _plainly(body: Callable[[], Any]) -> Callable[[], Any]:
    def plain() -> Any:
        become_plain()
        return body()

    return plain


def _report(pipe: int, body: Callable[[], Any]) -> NoReturn:
    try:
        answer = pickle.dumps((True, body()))
    except BaseException:  # noqa: BLE001 told in the other process
        answer = pickle.dumps((False, traceback.format_exc()))
    view_of_answer = memoryview(answer)
    while view_of_answer:
        view_of_answer = view_of_answer[os.write(pipe, view_of_answer) :]
    os._exit(0)


def _result(answer: bytes) -> Any:
    if not answer:
        pytest.fail("the forked process died without a word")
    succeeded, value = pickle.loads(answer)
    if not succeeded:
        pytest.fail(f"in the forked process:\n{value}")
    return value


class ForkedAgent:
    """The agent without exec; as `userns.AgentProcess`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.descriptor = os.pidfd_open(pid)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def finish(self) -> int:
        os.close(self.descriptor)
        return os.waitpid(self.pid, 0)[1]


def fork_agent(control: socket.socket) -> ForkedAgent:
    pid = os.fork()
    if pid == 0:
        # as exec would: nothing but stdio and the socket
        os.closerange(3, control.fileno())
        os.closerange(control.fileno() + 1, 4096)
        agent.run(control)
    return ForkedAgent(pid)


@asynccontextmanager
async def entered(shown: NetworkView) -> AsyncIterator[Inside]:
    async with userns.enter(shown, lambda _text: None, start=fork_agent) as inside:
        yield inside


def start_joined(inside: Inside, body: Callable[[], Any]) -> tuple[int, int]:
    """Fork a process that enters the namespaces and runs `body` there; returns its pid, and a pipe on which
    its answer comes. The process between the two ends once the inner one has ended."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            for kind in NAMESPACES:
                kernel.setns(inside.namespaces[kind])
            if os.fork() == 0:
                _report(writing, body)
            os.close(writing)
            os.wait()
        except BaseException:  # noqa: BLE001 the pipe ends, that is told
            traceback.print_exc(file=sys.stderr)
        finally:
            os._exit(0)
    os.close(writing)
    return pid, reading


async def joined(inside: Inside, body: Callable[[], Any]) -> Any:
    """What `body` returns in a process inside."""
    return await answer_of(*start_joined(inside, body))


async def answer_of(pid: int, reading: int) -> Any:
    """What came of `start_joined`."""
    answer = b""
    async with trio.lowlevel.FdStream(reading) as pipe:
        async for data in pipe:
            answer += data
    await trio.to_thread.run_sync(os.waitpid, pid, 0)
    return _result(answer)


async def output_of(inside: Inside, argv: Sequence[str]) -> str:
    """What a program prints inside, stderr included."""

    def execute() -> str:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.dup2(writing, 1)
                os.dup2(writing, 2)
                os.execv(argv[0], list(argv))
            finally:
                os._exit(127)
        os.close(writing)
        with open(reading, "rb") as pipe:
            printed = pipe.read()
        os.waitpid(pid, 0)
        return printed.decode()

    printed = await joined(inside, execute)
    assert isinstance(printed, str)
    return printed
