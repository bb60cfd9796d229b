"""Running a credential plugin: its answer on stdout, its words on stderr, its prompt on the terminal."""

from __future__ import annotations

import atexit
import json
import os
import selectors
import signal
import termios
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

from telepresence_py.model.plugin import Failure, Interaction, PluginCall, PluginEnd
from telepresence_py.process.ends import End, end_of

PATIENCE_SECONDS = 120.0
"""For a plugin without a terminal; some of them wait for a login in the browser."""

_MOST_OUTPUT = 1 << 20
_MOST_COMPLAINT = 4096


class PluginRun:
    """One run: `with PluginRun(call, ...) as run`, then `advance` until it returns the end.

    `fileno` is readable when `advance` has something to do. With `terminal` the plugin may have our stdin.
    Its stderr is ours, or with `aside` is kept for the end. A plugin without the terminal is killed after
    `patience` seconds, and one that still runs when the block is left, at once.
    """

    def __init__(
        self, call: PluginCall, terminal: bool, aside: bool = False, patience: float = PATIENCE_SECONDS
    ) -> None:
        self._call = call
        self.interactive = terminal and call.interaction is not Interaction.NEVER
        self._aside = aside
        self._deadline = None if self.interactive else time.monotonic() + patience
        self._failure: Failure | None = None
        self._heard: dict[int, bytes] = {}
        self._stdout = self._stderr = self._pid = -1
        self._end: End | None = None
        self._status: int | None = None

    def __enter__(self) -> Self:
        self._poll = selectors.DefaultSelector()
        self._restore_terminal = _terminal_keeper() if self.interactive else lambda: None
        if self._call.interaction is Interaction.ALWAYS and not self.interactive:
            self._failure = Failure.NO_TERMINAL
        else:
            try:
                self._start()
            except FileNotFoundError:
                self._failure = Failure.MISSING
            except OSError:
                self._failure = Failure.NOT_EXECUTABLE
        return self

    def __exit__(self, *_error: object) -> None:
        if self._end is not None and self._status is None:
            self._kill(signal.SIGKILL)
            self._end.reap()
        self._restore_terminal()
        self._poll.close()
        for descriptor in self._heard:
            os.close(descriptor)

    def fileno(self) -> int:
        return self._poll.fileno()

    @property
    def seconds_left(self) -> float | None:
        """Until `advance` must be called again, come what may; None: no such time."""
        if self._failure is not None:
            return 0.0
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def stop(self) -> None:
        """Ask it to end."""
        if self._pid > 0 and self._status is None:
            self._kill(signal.SIGTERM)

    def advance(self, seconds: float | None = 0.0) -> PluginEnd | None:
        """Take what there is, waiting up to `seconds` for it (None: for ever); the end if it came."""
        if self._failure is not None:
            return PluginEnd(failure=self._failure)
        for key, _events in self._poll.select(seconds):
            if key.fileobj is self._end:
                self._ended(self._end)
            else:
                self._read(key.fd)
        if self._status is not None:
            complaint = self._heard.get(self._stderr, b"")[-_MOST_COMPLAINT:].decode(errors="replace")
            output = self._heard[self._stdout].decode(errors="replace")
            return PluginEnd(self._status, output, complaint.strip())
        if self.seconds_left == 0.0:
            return PluginEnd(failure=Failure.TOO_LATE)
        return None

    def _start(self) -> None:
        read_end, write_end = os.pipe()
        self._take(read_end)
        self._stdout = read_end
        actions: list[Any] = [(os.POSIX_SPAWN_DUP2, write_end, 1)]
        ends = [write_end]
        if not self.interactive:
            actions.append((os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0))
        if self._aside:
            self._stderr, error_end = os.pipe()
            self._take(self._stderr)
            ends.append(error_end)
            actions.append((os.POSIX_SPAWN_DUP2, error_end, 2))
        spec = {**self._call.info.get("spec", {}), "interactive": self.interactive}  # type: ignore[dict-item]
        info = json.dumps({**self._call.info, "spec": spec})
        environment = {**os.environ, **self._call.environment, "KUBERNETES_EXEC_INFO": info}
        group: dict[str, Any] = {"setpgroup": 0} if self._aside else {}
        try:
            self._pid = os.posix_spawnp(
                self._call.command[0],
                self._call.command,
                environment,
                file_actions=actions,
                setsigmask=(),
                setsigdef=[signal.SIGPIPE, signal.SIGTTIN, signal.SIGTTOU],
                **group,
            )
        finally:
            for end in ends:
                os.close(end)
        self._end = end_of(self._pid)
        self._poll.register(self._end, selectors.EVENT_READ)

    def _take(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._heard[descriptor] = b""
        self._poll.register(descriptor, selectors.EVENT_READ)

    def _read(self, descriptor: int) -> None:
        try:
            data = os.read(descriptor, 65536)
        except BlockingIOError:
            return
        self._heard[descriptor] = (self._heard[descriptor] + data)[:_MOST_OUTPUT]
        if not data:
            self._poll.unregister(descriptor)

    def _ended(self, end: End) -> None:
        """What it left in the pipes is its answer; who else may hold them open is not waited for."""
        for descriptor in self._heard:
            with suppress(BlockingIOError):
                while data := os.read(descriptor, 65536):
                    self._heard[descriptor] = (self._heard[descriptor] + data)[:_MOST_OUTPUT]
        self._poll.unregister(end)
        self._status = end.reap()

    def _kill(self, number: int) -> None:
        with suppress(ProcessLookupError):
            if self._aside:
                os.killpg(self._pid, number)
            else:
                os.kill(self._pid, number)


def run_plugin(
    call: PluginCall, terminal: bool, aside: bool = False, patience: float = PATIENCE_SECONDS
) -> PluginEnd:
    """Run it to its end; blocks. As `PluginRun` says."""
    with PluginRun(call, terminal, aside, patience) as run:
        while True:
            if (end := run.advance(run.seconds_left)) is not None:
                return end


def run_plugin_here(call: PluginCall) -> PluginEnd:
    """Run it on our own terminal, if we have one."""
    return run_plugin(call, terminal=has_terminal())


def has_terminal() -> bool:
    """Whether somebody can be asked: stdin is a terminal, as kubectl decides it."""
    try:
        return os.isatty(0)
    except OSError:
        return False


def _terminal_keeper() -> Callable[[], None]:
    """A function that gives our terminal the settings back that it has now.

    A plugin that is ended while somebody types a password leaves it without echo. At exit it is done too:
    the thread that waits for the plugin does not see the end of a program that ^C ends.
    """
    try:
        settings = termios.tcgetattr(0)
    except (termios.error, OSError):
        return lambda: None

    def restore() -> None:
        atexit.unregister(restore)
        with suppress(termios.error, OSError):
            termios.tcsetattr(0, termios.TCSADRAIN, settings)

    atexit.register(restore)
    return restore
