"""The child as a job of the caller's terminal: signals, ^Z and the foreground as if the CLI were not between.

- What the terminal sends, it sends to the whole foreground group: never forwarded. But a hang-up it tells to
  the session's leader alone, which the CLI is in `xterm -e` or `ssh -t`.
- What was sent to the CLI alone is forwarded; what was sent to our group too, the child already has.
- A child that stops, stops the CLI with the same signal, so that the shell sees its job stopped; continuing
  the CLI continues the child.
- An interactive shell as the child makes a group of its own and takes the foreground: it is taken back after
  its end, as such a shell cannot name our group from inside its pid namespace.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Self

from telepresence_py import system
from telepresence_py.process import kernel
from telepresence_py.process.child import Child, ChildSpec, Exited, Stopped, start_child
from telepresence_py.process.kernel import SignalReceived
from telepresence_py.process.terminal import Terminal
from telepresence_py.process.witness import Witness

if TYPE_CHECKING:
    from telepresence_py.process.neutral import Keeper
    from telepresence_py.process.neutral_signals import AskedWitness, HandledSignals

_FORWARDED = frozenset(
    {
        signal.SIGHUP,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGALRM,
        signal.SIGTERM,
        signal.SIGTSTP,
        signal.SIGCONT,
        signal.SIGWINCH,
    }
)
# a background CLI must neither stop when it prints nor when it gives the terminal away
_UNHEEDED = frozenset({signal.SIGTTIN, signal.SIGTTOU})
_TYPED = frozenset({signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGWINCH})


class SignalInbox:
    """Takes the signals that matter off their usual course while the block lasts; `fileno` to wait on.

    `caller_mask` is what was blocked before: the child gets it back.
    """

    def __enter__(self) -> Self:
        self.caller_mask = frozenset(signal.pthread_sigmask(signal.SIG_BLOCK, _UNHEEDED))
        self._source: kernel.SignalSource | HandledSignals
        if system.LINUX:
            self._source = kernel.SignalSource(_FORWARDED | {signal.SIGCHLD})
        else:
            from telepresence_py.process.neutral_signals import HandledSignals

            self._source = HandledSignals(_FORWARDED | {signal.SIGCHLD})
        return self

    def __exit__(self, *_error: object) -> None:
        # what arrived last must not kill us now that all is done
        self.read()
        self._source.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, self.caller_mask)

    def fileno(self) -> int:
        return self._source.fileno()

    def read(self) -> list[SignalReceived]:
        return self._source.read()


class Job:
    """One child from its start to its end. `with Job(spec) as job:`; raises what `start_child` raises.

    Needs a `SignalInbox` to be open. Leaving the block early kills the child. `stops` counts how often we
    stopped with the child, and were continued.
    """

    def __init__(self, spec: ChildSpec) -> None:
        self._spec = spec
        self._terminal = Terminal()
        self._witness = _witness()
        self._keeper: Keeper | None = None
        self._last: tuple[SignalReceived, bool] | None = None
        self._status: int | None = None
        self.stops = 0

    def __enter__(self) -> Self:
        self._witness.__enter__()
        self._terminal.__enter__()
        self._had_foreground = self._terminal.is_ours
        try:
            self.child = self._start()
        except BaseException:
            self._terminal.__exit__()
            self._witness.__exit__()
            raise
        return self

    def _start(self) -> Child:
        if system.LINUX:
            return start_child(self._spec)
        from telepresence_py.process import neutral

        child, self._keeper = neutral.start_child(self._spec)
        return child

    def __exit__(self, *_error: object) -> None:
        if self._status is None:
            self.child.send(signal.SIGKILL)
            os.waitpid(self.child.pid, 0)
        if self._keeper is not None:
            self._keeper.close()
        self._terminal.__exit__()
        self._witness.__exit__()

    def deliver(self, received: SignalReceived) -> None:
        """Forward the signal if the child would have got it without us, and has not got it; not SIGCHLD."""
        if self._status is not None:
            return
        if received.number == signal.SIGCONT and self._terminal.is_there:
            if not self._in_our_group():
                self._continue_group()
        elif not (self.was_typed(received) or self._has_it_already(received)):
            self.child.send(received.number)

    def was_typed(self, received: SignalReceived) -> bool:
        """Whether the terminal sent it (^C, ^\\, ^Z, a new window size), as far as this system tells."""
        if system.LINUX:
            return received.code > 0 and received.number not in (signal.SIGHUP, signal.SIGCONT)
        return received.number in _TYPED and self._terminal.is_ours and self._group_got(received)

    def terminate(self, number: int) -> None:
        """End the child: the signal, and SIGCONT so that a stopped one can obey."""
        if self._status is None:
            self.child.send(number)
            self.child.send(signal.SIGCONT)

    def poll(self) -> int | None:
        """The child's status (minus a signal's number) once it ended; to be called after each SIGCHLD.

        Returns only after a SIGCONT when the child was stopped: the CLI stops with it.
        """
        while self._status is None and (news := self.child.poll()) is not None:
            match news:
                case Stopped(number):
                    self._stop_too(number)
                case Exited(status):
                    self._status = status
                    self._take_foreground_back()
        return self._status

    def _in_our_group(self) -> bool:
        return self.child.group() == os.getpgrp()

    def _has_it_already(self, received: SignalReceived) -> bool:
        return self._in_our_group() and self._group_got(received)

    def _group_got(self, received: SignalReceived) -> bool:
        """The witness can be asked once for each."""
        if self._last is None or self._last[0] is not received:
            self._last = received, self._witness.also_got(received.number)
        return self._last[1]

    def _continue_group(self) -> None:
        """`fg` of a child that leads a group of its own: the shell gave the terminal to ours."""
        group = self.child.group()
        if self._terminal.is_ours:
            self._terminal.set_foreground(group)
        os.killpg(group, signal.SIGCONT)

    def _stop_too(self, number: int) -> None:
        # without a terminal there is no shell that would continue us, only whoever stopped the child
        if not (self._terminal.is_there and self.child.is_stopped()):
            return
        stop_self(number)
        self.stops += 1
        # a SIGCONT to the group has continued the child already, and ^Z may have stopped it again since: then
        # the loop of `poll` has news of it. No witness could tell, as a stop makes the kernel drop a SIGCONT
        if self.child.is_stopped() and self._in_our_group() and not self.child.has_news():
            self.child.send(signal.SIGCONT)

    def _take_foreground_back(self) -> None:
        if self._had_foreground and not self._terminal.is_ours:
            self._terminal.set_foreground(os.getpgrp())


def _witness() -> Witness | AskedWitness:
    if system.LINUX:
        return Witness()
    from telepresence_py.process.neutral_signals import AskedWitness

    return AskedWitness()


def stop_self(number: int) -> None:
    """Stop this process by the signal, whatever is blocked; returns when it was continued."""
    if not system.LINUX:
        from telepresence_py.process import neutral_signals

        neutral_signals.stop_self(number)
        return
    # sent while still blocked, it merges with one that is pending already: one stop, not two
    os.kill(os.getpid(), number)
    blocked = signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
