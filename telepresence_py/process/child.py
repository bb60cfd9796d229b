"""The child: executed in the session's namespaces, yet an ordinary member of the caller's terminal session.

A process cannot enter a pid namespace itself, and one that entered a user namespace cannot leave it. So a
short-lived joiner is forked; it enters all namespaces, clones the child with CLONE_PARENT (clone(2)) and
ends: the child is the CLI's own child, in its process group. runc enters containers the same way.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
from collections.abc import Iterable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from telepresence_py import system
from telepresence_py.model.errors import (
    CommandNotExecutable,
    CommandNotFound,
    InternalError,
    PreconditionFailed,
    SessionLost,
    TelepresenceError,
)
from telepresence_py.process import kernel
from telepresence_py.process.command import execute, not_executable, not_found

if TYPE_CHECKING:
    from telepresence_py.process.handing_over import HandingOver

NAMESPACES = {
    # in the order of joining: the user namespace gives the right to join the others
    "user": kernel.CLONE_NEWUSER,
    "net": kernel.CLONE_NEWNET,
    "uts": kernel.CLONE_NEWUTS,
    "mnt": kernel.CLONE_NEWNS,
    "pid": kernel.CLONE_NEWPID,
}


@dataclass(frozen=True)
class ChildSpec:
    """What to execute and where. `environment` is whole. `namespaces` maps kinds of NAMESPACES to
    descriptors, which stay the caller's; `calls` among them is a file with the Doors to which its calls are
    led (`call_words`). `signal_mask` is what the child shall have blocked. One that is `outside_pids` does
    not join the process namespace."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    directory: str
    namespaces: Mapping[str, int]
    signal_mask: frozenset[int] = frozenset()
    outside_pids: bool = False


@dataclass(frozen=True)
class Exited:
    """`status`: exit code 0 to 255, or minus the number of the signal that ended it."""

    status: int


@dataclass(frozen=True)
class Stopped:
    """By job control or SIGSTOP; `signal_number` is the signal that stopped it."""

    signal_number: int


@dataclass(frozen=True)
class Child:
    """A running child. `directory` is where it began: the caller's, or / where that one is hidden."""

    pid: int
    directory: str

    def poll(self) -> Exited | Stopped | None:
        """News of the child since the last call, without waiting. After `Exited` the pid is free again."""
        pid, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED)
        if pid == 0:
            return None
        if os.WIFSTOPPED(status):
            return Stopped(os.WSTOPSIG(status))
        return Exited(os.waitstatus_to_exitcode(status))

    def has_news(self) -> bool:
        """Whether `poll` would tell something."""
        if not system.LINUX:
            raise NotImplementedError
        options = os.WEXITED | os.WSTOPPED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.pid, options) is not None

    def group(self) -> int:
        """Its process group; an interactive shell makes one of its own."""
        return os.getpgid(self.pid)

    def send(self, number: int) -> None:
        os.kill(self.pid, number)

    def is_stopped(self) -> bool:
        """Whether it is stopped by job control now (not merely held by a debugger)."""
        with open(f"/proc/{self.pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] == "T"


def start_child(spec: ChildSpec) -> Child:
    """Start the child; returns once it has become the command.

    Must be called by the main thread: the child dies when the thread that called this does. Raises
    CommandNotFound, CommandNotExecutable, PreconditionFailed when a namespace cannot be joined, or
    SessionLost when it has ended.
    """
    if not system.LINUX:
        raise NotImplementedError
    reading, writing = os.pipe2(os.O_CLOEXEC)
    missed = signal.sigpending()
    handing = _handing_over(spec)
    joiner = os.fork()
    if joiner == 0:
        os.close(reading)
        _join_and_clone(spec, writing, missed, handing)
    os.close(writing)
    os.waitpid(joiner, 0)
    with os.fdopen(reading, "rb") as pipe, handing or nullcontext():
        said = _heard(pipe, handing)
    if "failed" in said:
        _reap(said)
        number, reason = int(str(said["errno"])), str(said["reason"])
        if said["failed"] == "join":
            if number == errno.ENOMEM:  # pid_namespaces(7): so it is once their first process has ended
                raise SessionLost(_NO_NAMESPACE)
            raise PreconditionFailed(f"the child could not enter the session's namespaces: {reason}")
        raise start_error(spec.command[0], number, reason)
    if not isinstance(pid := said.get("pid"), int):
        raise InternalError("the process that should have become the command ended without a word")
    return Child(pid, str(said.get("directory", "/")))


_NO_NAMESPACE = (
    "the child could not be started: its namespaces have ended, as somebody killed their first process, or "
    "this machine has no memory left; run it again"
)


def _handing_over(spec: ChildSpec) -> HandingOver | None:
    if "calls" not in spec.namespaces:
        return None
    from telepresence_py.process.handing_over import HandingOver, doors_of  # one method alone needs it

    return HandingOver(doors_of(spec.namespaces["calls"]))


def _heard(pipe: Iterable[bytes], handing: HandingOver | None) -> dict[str, object]:
    """All that joiner and child say, up to the child's exec."""
    said: dict[str, object] = {}
    for line in pipe:
        words = json.loads(line)
        if handing is not None and "listener" in words:
            try:
                handing.take(words["of"], words["listener"])
            except OSError as error:
                handing.give_up()
                words = {"failed": "join", "errno": error.errno, "reason": error.strerror, "pid": words["of"]}
        said.update(words)
    return said


def _reap(said: dict[str, object]) -> None:
    if isinstance(pid := said.get("pid"), int):
        os.waitpid(pid, 0)


def start_error(word: str, number: int, reason: str) -> TelepresenceError:
    """What to raise when the command could not be executed, for an errno and what it means."""
    if number in (errno.ENOENT, errno.ENOTDIR):
        return CommandNotFound(not_found(word))
    return CommandNotExecutable(not_executable(word, reason))


def _join_and_clone(
    spec: ChildSpec, pipe: int, missed: set[signal.Signals], handing: HandingOver | None
) -> NoReturn:
    """The joiner's life; `missed` are blocked signals that came before it.

    Nothing may escape from here: it would unwind a copy of the CLI.
    """
    try:
        for kind, flag in NAMESPACES.items():
            if kind in spec.namespaces and not (spec.outside_pids and kind == "pid"):
                kernel.setns(spec.namespaces[kind], flag)
        child = kernel.clone_sibling()
        if child == 0:
            _become(spec, pipe, handing)
        _say(pipe, pid=child)
        # what was sent to the whole group before there was a child is the child's, too
        for number in (missed | signal.sigpending()) - {signal.SIGCHLD}:
            with suppress(ProcessLookupError):
                os.kill(child, number)
        os._exit(0)
    except OSError as error:
        _say(pipe, failed="join", errno=error.errno, reason=error.strerror)
    finally:
        os._exit(1)


def _become(spec: ChildSpec, pipe: int, handing: HandingOver | None) -> NoReturn:
    """The child's life before the command: single-threaded, forked, in the namespaces."""
    try:
        kernel.die_with_parent()
        _end_if_orphan(pipe)
        _say(pipe, directory=_enter(spec.directory))
        # Python ignores these two; a program expects to die of them
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, spec.signal_mask)
        if handing is not None:
            _say(pipe, listener=handing.install(), of=os.getpid())
            handing.wait()
        execute(spec.command, spec.environment)
    except OSError as error:
        _say(pipe, failed="exec", errno=error.errno, reason=error.strerror)
    except ValueError as error:
        # a NUL in a word, or a variable's name that no environment can hold
        _say(pipe, failed="exec", errno=errno.EINVAL, reason=str(error))
    finally:
        os._exit(127)


def _end_if_orphan(pipe: int) -> None:
    """The caller may have died before die_with_parent: then nobody reads the pipe."""
    poll = select.poll()
    poll.register(pipe, 0)
    if any(events & select.POLLERR for _fd, events in poll.poll(0)):
        os._exit(127)


def _enter(directory: str) -> str:
    """Joining a mount namespace led to its root; go back to where the caller was, if it is to be seen."""
    try:
        os.chdir(directory)
    except OSError:
        os.chdir("/")
        return "/"
    return directory


def _say(pipe: int, **facts: object) -> None:
    os.write(pipe, json.dumps(facts).encode() + b"\n")
