"""What POSIX and psutil tell of processes and do with them: for systems that are not Linux.

A child is forked beside the CLI, and ended by a small shell if the CLI is killed: only Linux's kernel does
that by itself. psutil is imported where it is needed, as the CLI starts fast.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, NoReturn, TypeVar

from telepresence_py.model.errors import PreconditionFailed
from telepresence_py.process.child import Child, ChildSpec, Exited, Stopped, start_error
from telepresence_py.process.command import execute
from telepresence_py.process.witness import inheritable

T = TypeVar("T")

LOOK_SHARE = 10
LEAST_PAUSE_SECONDS = 0.1
_PYTHON_IGNORES = frozenset({signal.SIGPIPE, signal.SIGXFSZ})
"""Programs expect to die of them."""

_SHELL = "/bin/sh"
# its stdin ends with the CLI alone: else the CLI kills it
_KEEPING = 'read -r pid && { read -r never; kill -KILL "$pid"; }'


def process_start(pid: int) -> int | None:
    """When the process began, in hundredths of a second of the system's time; None if it is gone."""
    import psutil

    def begun() -> int | None:
        process = psutil.Process(pid)
        gone = process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        return None if gone else round(process.create_time() * 100)

    return _asked(begun, None)


def is_stopped(pid: int) -> bool:
    """Whether it is stopped by a signal now."""
    import psutil

    return _asked(lambda: bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED), False)


class Seen(Generic[T]):
    """`seen()` is what `look()` found last. A thread looks again and again until `close`; what it computes is
    at most one part in LOOK_SHARE of the time."""

    def __init__(self, look: Callable[[], T]) -> None:
        self._look = look
        self._found = look()
        self._closed = threading.Event()
        threading.Thread(target=self._go_on, daemon=True).start()

    def __call__(self) -> T:
        return self._found

    def close(self) -> None:
        self._closed.set()

    def _go_on(self) -> None:
        pause = LEAST_PAUSE_SECONDS
        while not self._closed.wait(pause):
            began = time.thread_time()
            self._found = self._look()
            pause = max(LEAST_PAUSE_SECONDS, LOOK_SHARE * (time.thread_time() - began))


def listening_ports() -> dict[int, frozenset[str]]:
    """Port -> the addresses on which processes of this user listen by TCP; of others' nothing is told."""
    import psutil

    found: dict[int, set[str]] = {}
    for process in psutil.process_iter():
        connections: list[Any] = _asked(partial(process.net_connections, "tcp"), [])
        for connection in connections:
            if connection.status == psutil.CONN_LISTEN:
                found.setdefault(connection.laddr.port, set()).add(connection.laddr.ip)
    return {port: frozenset(addresses) for port, addresses in found.items()}


def _asked(ask: Callable[[], T], otherwise: T) -> T:
    """`otherwise` where the process is gone, or not ours to ask about."""
    import psutil

    try:
        return ask()
    except (psutil.Error, OSError):
        return otherwise


@dataclass(frozen=True)
class SpawnedChild(Child):
    """A child of whose news only the taking tells whether there is any."""

    _taken: list[Exited | Stopped] = field(default_factory=list)

    def poll(self) -> Exited | Stopped | None:
        return self._taken.pop() if self._taken else super().poll()

    def has_news(self) -> bool:
        if not self._taken and (news := super().poll()) is not None:
            self._taken.append(news)
        return bool(self._taken)

    def is_stopped(self) -> bool:
        return is_stopped(self.pid)


def start_child(spec: ChildSpec) -> tuple[SpawnedChild, Keeper]:
    """As `child.start_child`, for a spec without namespaces. That the child dies with us is the keeper's
    work; whoever calls closes it once the child ended."""
    if spec.namespaces:
        raise PreconditionFailed("only Linux has namespaces for the command to be in; take --method proxy")
    keeper = Keeper()
    try:
        return SpawnedChild(_fork(spec, keeper), spec.directory), keeper
    except BaseException:
        keeper.close()
        raise


def _fork(spec: ChildSpec, keeper: Keeper) -> int:
    goes, go = os.pipe()
    failed, fail = os.pipe()
    # a signal that is handled before the child is the command would be lost on it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - {signal.SIGCHLD})
    try:
        missed = signal.sigpending()
        pid = os.fork()
        if pid == 0:
            os.close(go)
            os.close(failed)
            _become(spec, keeper, goes, fail)
        os.close(goes)
        os.close(fail)
        keeper.keep(pid)
        os.write(go, b"g")
        os.close(go)
        # what was sent to the whole group before there was a child is the child's, too
        for number in missed - {signal.SIGCHLD}:
            os.kill(pid, number)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    with os.fdopen(failed, "rb") as pipe:
        said = pipe.read()  # until it is the command, or could not be
    if said:
        os.waitpid(pid, 0)
        number, _space, reason = said.decode().partition(" ")
        raise start_error(spec.command[0], int(number), reason)
    return pid


def _become(spec: ChildSpec, keeper: Keeper, goes: int, fail: int) -> NoReturn:
    """The child's life before the command; nothing may escape, as it would unwind a copy of the CLI."""
    try:
        signal.set_wakeup_fd(-1)
        keeper.leave()
        if not os.read(goes, 1):
            os._exit(127)  # the CLI was killed before its keeper knew of us
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            if number in _PYTHON_IGNORES or callable(signal.getsignal(number)):
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, spec.signal_mask)
        execute(spec.command, spec.environment)
    except OSError as error:
        os.write(fail, f"{error.errno or errno.EIO} {error.strerror}".encode())
    except ValueError as error:
        # a NUL in a word, or a variable's name that no environment can hold
        os.write(fail, f"{errno.EINVAL} {error}".encode())
    finally:
        os._exit(127)


class Keeper:
    """Kills the child at once when this process is gone, as by SIGKILL, from `keep` until `close`.

    A shell in a session of its own: what is sent to our group does not reach it.
    """

    def __init__(self) -> None:
        reading, self._line = os.pipe()
        try:
            self._pid = os.posix_spawn(
                _SHELL,
                ["sh", "-c", _KEEPING, "tp-keeper"],
                {},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, reading, 0),
                    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                    # a reader of the CLI's pipes must see their end
                    *((os.POSIX_SPAWN_CLOSE, each) for each in inheritable("/dev/fd") if each > 2),
                ],
                setsid=True,
                setsigmask=(),
            )
        except OSError as error:
            os.close(self._line)
            raise PreconditionFailed(f"{_SHELL} cannot be executed: {error.strerror}") from error
        finally:
            os.close(reading)

    def keep(self, child_pid: int) -> None:
        """It kills that process even if we end right after this call."""
        os.write(self._line, b"%d\n" % child_pid)

    def leave(self) -> None:
        """In a fork of this process: its end is not that of this process."""
        os.close(self._line)

    def close(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._line)
