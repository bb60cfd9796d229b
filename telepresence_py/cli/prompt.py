"""What the user says between two children: Enter for another one, ^D for the end.

Signals are not its business: with a terminal or without, SIGUSR1 means another one, and ^C the end.
"""

from __future__ import annotations

import os
import selectors
import sys
from collections.abc import Callable

from telepresence_py.cli.render import Screen
from telepresence_py.process.terminal import Terminal, forget_typed

_KEYS = 0
_END_OF_TRANSMISSION = b"\x04"
_INTERRUPT = b"\x03"
_LOOK_AGAIN_SECONDS = 0.3


class Prompt:
    """Asks on standard input while it is open, if that is a terminal whose foreground is ours.

    `answered` is called with True for another child, with False for the end.
    """

    def __init__(
        self, selector: selectors.BaseSelector, screen: Screen, answered: Callable[[bool], None]
    ) -> None:
        self._selector = selector
        self._screen = screen
        self._answered = answered
        self._reads = False
        self._question: tuple[str, str] | None = None

    def open(self, keys: str, signals: str) -> None:
        """Say `keys` to who can press them, else `signals`."""
        self._question = keys, signals
        if _has_terminal() and _is_ours():
            # what was typed until now was meant for the child that is gone
            forget_typed(_KEYS)
        self._ask()

    def renew(self) -> None:
        """Ask again: the terminal may be ours now, or no longer."""
        if self._question is not None:
            self._stop_reading()
            self._ask()

    def look(self) -> float | None:
        """Ask anew once we are brought to the foreground, which no signal tells to a job that runs. Returns
        the seconds after which to look again; None when there is nothing to look for."""
        if self._question is None or self._reads or not _has_terminal():
            return None
        if _is_ours():
            self._ask()
            return None
        return _LOOK_AGAIN_SECONDS

    def close(self) -> None:
        self._question = None
        self._stop_reading()

    def _ask(self) -> None:
        assert self._question is not None
        keys, signals = self._question
        self._reads = _has_terminal() and _is_ours()
        if self._reads:
            self._selector.register(_KEYS, selectors.EVENT_READ, self._on_keys)
        self._screen.prompt(keys if self._reads else signals)

    def _on_keys(self) -> None:
        if not self._reads:
            return  # closed by what came at the same time
        try:
            typed = os.read(_KEYS, 1024)
        except BlockingIOError:
            return
        except OSError:
            self._stop_reading()  # in the background meanwhile
            return
        if not typed or _END_OF_TRANSMISSION in typed or _INTERRUPT in typed:
            self._answered(False)
        elif not typed.strip():
            self._answered(True)
        else:
            # words, for a shell that the user believes to be in
            forget_typed(_KEYS)
            self.renew()

    def _stop_reading(self) -> None:
        if self._reads:
            self._reads = False
            self._selector.unregister(_KEYS)


def _has_terminal() -> bool:
    """Whether keys may reach us and the question is seen."""
    try:
        return os.isatty(_KEYS) and sys.stderr.isatty()
    except ValueError:  # stderr was closed
        return False


def _is_ours() -> bool:
    with Terminal() as terminal:
        return terminal.is_ours
