"""Credential plugins that the session process asks for: they run here, where the terminal is."""

from __future__ import annotations

import selectors
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from telepresence_py.cli.render import Screen
from telepresence_py.model.plugin import PluginCall, PluginEnd

if TYPE_CHECKING:
    from telepresence_py.process.plugin import PluginRun


class PluginDesk:
    """`with PluginDesk(...) as desk`; runs one at a time, in the caller's loop. Leaving ends what still runs.

    `done` gets the end of each. The terminal is a plugin's own while it runs, as it is the child's later.
    """

    def __init__(
        self, selector: selectors.BaseSelector, screen: Screen, done: Callable[[PluginEnd], None]
    ) -> None:
        self._selector = selector
        self._screen = screen
        self._done = done
        self._run: PluginRun | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._close()

    @property
    def seconds_left(self) -> float | None:
        """Until `look` must be called, come what may; None: no such time."""
        return None if self._run is None else self._run.seconds_left

    def start(self, call: PluginCall) -> None:
        from telepresence_py.process.plugin import PluginRun, has_terminal

        self._screen.child_begins()
        self._run = self._stack.enter_context(PluginRun(call, has_terminal()))
        self._selector.register(self._run, selectors.EVENT_READ, self.look)

    def look(self) -> None:
        """Take what the plugin has to say; to be called when it has something, or too little time left."""
        if self._run is not None and (end := self._run.advance()) is not None:
            self._close()
            self._done(end)

    def stop(self) -> None:
        """Ask the plugin to end, if there is one."""
        if self._run is not None:
            self._run.stop()

    def _close(self) -> None:
        if self._run is not None:
            self._selector.unregister(self._run)
            self._run = None
            self._stack.close()
            self._screen.child_ended()
