"""The children of one session, one at a time: started, ended, started again as the options ask.

A child's end is followed by another start (its files changed, or it crashed), by waiting for the user, or by
nothing. In between, whatever it left behind is ended and the terminal is as it was before the first one.
"""

from __future__ import annotations

import os
import selectors
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Protocol, Self

from telepresence_py.cli.again import Again, BackOff, Next, how_it_ended, what_follows
from telepresence_py.cli.changes import Changes, short
from telepresence_py.cli.prompt import Prompt
from telepresence_py.cli.render import Screen
from telepresence_py.model.errors import TelepresenceError
from telepresence_py.model.events import Level
from telepresence_py.process.child import ChildSpec
from telepresence_py.process.job import Job, stop_self
from telepresence_py.process.kernel import SignalReceived
from telepresence_py.process.sweep import Sweep, start_sweep
from telepresence_py.process.terminal import SavedTerminal

ENDING = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT})
_RESTART_GRACE_SECONDS = 5.0
_WATCHER_SECONDS = 10.0
_INTERRUPT_SECONDS = 10.0  # what ends so soon after a ^C ends by it


class Listener(Protocol):
    """Whom the children are for. `farewell` says what ^C does once none lives: `gives the workload back`."""

    farewell: str

    def first_child_started(self, pid: int) -> None: ...

    def children_over(self, status: int, error: TelepresenceError | None) -> None:
        """The last one ended with that status, or the first one could not be executed."""


class Children:
    """`with Children(...) as children:`; leaving kills whatever runs."""

    def __init__(
        self, again: Again, screen: Screen, selector: selectors.BaseSelector, listener: Listener
    ) -> None:
        self._again = again
        self._screen = screen
        self._selector = selector
        self._listener = listener
        self._prompt = Prompt(selector, screen, self._answered)
        self._back_off = BackOff()
        self._spec: ChildSpec | None = None
        self._descriptors: list[int] = []
        self._job: Job | None = None
        self._jobs = ExitStack()
        self._sweep: Sweep | None = None
        self._status: int | None = None
        self._began = 0.0
        self._start_at: float | None = None
        self._kill_at: float | None = None
        self._interrupted_at = float("-inf")
        self._changed = False
        self._none_follows = not again.is_wanted
        self._over = False

    def __enter__(self) -> Self:
        self._changes = Changes(self._again.watch, self._selector, self._screen, self._on_change)
        return self

    def __exit__(self, *_error: object) -> None:
        self._close()
        self._jobs.close()

    @property
    def one_lives(self) -> bool:
        return self._job is not None

    # what the session asks for

    def begin(self, spec: ChildSpec) -> None:
        """Have the first child started soon. Takes over the descriptors of the spec."""
        self._spec = spec
        self._descriptors = list(spec.namespaces.values())
        self._saved = SavedTerminal()
        self._start_at = time.monotonic()

    def end(self, grace_seconds: float) -> None:
        """End the one that lives, by SIGTERM and then SIGKILL; none follows."""
        self._none_follows = True
        if self._job is None:
            self._finish()
        else:
            self._terminate(grace_seconds)

    # what the loop asks for

    def timeout(self) -> float | None:
        """Seconds until `tick` has something to do; None when only others can tell."""
        times = [self._kill_at] if self._kill_at is not None else []
        if (due := self._due()) is not None:
            times.append(due)
        waits = [max(0.0, each - time.monotonic()) for each in times]
        if (pause := self._prompt.look()) is not None:
            waits.append(pause)
        return min(waits, default=None)

    def _due(self) -> float | None:
        """When to start the next one; None if that depends on somebody else."""
        if self._start_at is None or self._sweep is not None:
            return None
        return max(self._start_at, self._changes.settled_at)

    def tick(self) -> None:
        now = time.monotonic()
        if self._job is not None and self._kill_at is not None and now >= self._kill_at:
            self._kill_at = None
            self._job.terminate(signal.SIGKILL)
        if (due := self._due()) is not None and now >= due:
            self._start()

    def take(self, signals: Sequence[SignalReceived]) -> list[SignalReceived]:
        """Do what the signals mean for the children; those are left that mean something else, or more."""
        job = self._job
        stops = 0 if job is None else job.stops
        left = []
        for received in signals:
            if received.number == signal.SIGCHLD:
                self._look_after()
            elif job is not None and received.number == signal.SIGTSTP and job.stops > stops:
                pass  # sent before the SIGCONT, which takes back every stop that is pending: signal(7)
            elif job is not None:
                self._note_wish(job, received)
                job.deliver(received)  # even if it ended meanwhile: the signal was meant for it
            elif self._status is None or self._over or not self._take_between(received):
                left.append(received)
        return left

    # from start to end

    def _start(self) -> None:
        assert self._spec is not None
        self._prompt.close()
        self._start_at, self._changed = None, False
        self._began = time.monotonic()
        self._screen.child_begins()
        try:
            job = self._jobs.enter_context(Job(self._spec))
        except TelepresenceError as error:
            self._screen.child_ended()
            self._not_started(error)
            return
        self._job = job
        if self._status is None:
            self._listener.first_child_started(job.child.pid)
            if job.child.directory != self._spec.directory:
                text = f"{self._spec.directory} is hidden by the pod's files; the command began in /"
                self._screen.say(text, Level.WARNING)

    def _not_started(self, error: TelepresenceError) -> None:
        first = self._status is None
        self._status = error.exit_code
        if first:
            self._finish(error)
        else:
            self._go_on(error.sentence)

    def _look_after(self) -> None:
        if self._job is not None and (status := self._job.poll()) is not None:
            self._jobs.close()
            self._job, self._kill_at, self._status = None, None, status
            self._screen.child_ended()
            if self._none_follows:
                if status < 0:
                    self._saved.restore()  # as a shell does, which may see an exit code of ours instead
                self._finish()
            else:
                assert self._spec is not None
                self._sweep = start_sweep(self._spec.namespaces)
        if self._sweep is not None and self._sweep.poll():
            self._sweep = None
            self._saved.restore()
            assert self._status is not None
            self._go_on(how_it_ended(self._status))

    def _go_on(self, how: str) -> None:
        """After a child's end, or when it could not be executed again."""
        assert self._status is not None
        if self._start_at is not None and not self._changed:
            return  # the user did not wait for us to ask
        now = time.monotonic()
        interrupted = now - self._interrupted_at < _INTERRUPT_SECONDS
        match what_follows(self._again, self._status, self._changed, interrupted):
            case Next.START if self._changed:
                self._back_off.reset()
                self._start_at = now
            case Next.START:
                pause = self._back_off.pause(now - self._began)
                self._screen.say(f"{how}; it is started again{_when(pause)}", Level.WARNING)
                self._start_at = now + pause
            case Next.WAIT:
                self._ask(how)
            case Next.OVER:
                self._finish()

    def _finish(self, error: TelepresenceError | None = None) -> None:
        if self._over:
            return
        self._close()
        if self._status is not None:
            self._listener.children_over(self._status, error)

    def _close(self) -> None:
        self._over = True
        self._start_at = None
        self._prompt.close()
        self._changes.close()
        if self._sweep is not None:
            self._sweep.close()
            self._sweep = None
        while self._descriptors:
            os.close(self._descriptors.pop())

    def _terminate(self, grace_seconds: float) -> None:
        if self._job is not None and self._kill_at is None:
            self._job.terminate(signal.SIGTERM)
            self._kill_at = time.monotonic() + grace_seconds

    # what the user wants

    def _note_wish(self, job: Job, received: SignalReceived) -> None:
        """What ends the child by the user's wish is no crash; what was typed to a kept one is its own."""
        if received.number not in ENDING or signal.getsignal(received.number) is signal.SIG_IGN:
            return
        if self._again.keep and job.was_typed(received):
            self._interrupted_at = time.monotonic()
        else:
            self._none_follows = True

    def _take_between(self, received: SignalReceived) -> bool:
        if signal.getsignal(received.number) is signal.SIG_IGN:
            return True  # nohup, or a job of a script in the background
        if received.number == signal.SIGTSTP:
            stop_self(signal.SIGTSTP)
            self._prompt.renew()
        elif received.number == signal.SIGUSR1:
            self._start_now()
        elif received.number in ENDING:
            self._finish()
            return received.number != signal.SIGINT  # who waits for the restore tells what ^C means now
        return True

    def _ask(self, how: str) -> None:
        change = ", or a changed file," if self._again.watch else ""
        pid = os.getpid()
        self._prompt.open(
            f"{how}; Enter{change} starts it again, ^C {self._listener.farewell}",
            f"{how}; kill -USR1 {pid}{change} starts it again, kill {pid} {self._listener.farewell}",
        )

    def _answered(self, another: bool) -> None:
        if another:
            self._start_now()
        else:
            self._finish()

    def _start_now(self) -> None:
        self._back_off.reset()
        self._start_at = time.monotonic()

    def _on_change(self, path: str) -> None:
        if self._spec is None or self._changed or self._none_follows:
            return
        if self._job is None:
            if self._status is None:
                return  # the first one will read what changed
            self._start_now()
        self._changed = True
        self._screen.say(f"{short(path)} changed: the command is started again")
        self._terminate(_RESTART_GRACE_SECONDS)


def _when(pause: float) -> str:
    return f" in {pause:g} s" if pause else ""
