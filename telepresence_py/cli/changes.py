"""Changes of watched files, for whoever starts children; nothing is loaded for it unless it is asked for."""

from __future__ import annotations

import os
import selectors
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from telepresence_py.cli.render import Screen
from telepresence_py.model.events import Level

if TYPE_CHECKING:
    from telepresence_py.process.watching import Said, Watcher

_PATIENCE_SECONDS = 10.0


class Changes:
    """`close` by whoever made it. `changed` is called with a path, absolute and below what is watched.

    No child should start before `settled_at`: what it reads while it starts might change unseen.
    """

    def __init__(
        self,
        paths: tuple[str, ...],
        selector: selectors.BaseSelector,
        screen: Screen,
        changed: Callable[[str], None],
    ) -> None:
        self._paths = paths
        self._selector = selector
        self._screen = screen
        self._changed = changed
        self._watcher: Watcher | None = None
        self._settled_at = time.monotonic()
        if paths:
            from telepresence_py.process.watching import Watcher

            self._settled_at += _PATIENCE_SECONDS
            self._watcher = Watcher(paths)
            selector.register(self._watcher, selectors.EVENT_READ, self._on_watcher)

    @property
    def settled_at(self) -> float:
        """When a child may start, by time.monotonic; now at the latest once the watch stands."""
        return self._settled_at

    def close(self) -> None:
        if self._watcher is not None:
            self._selector.unregister(self._watcher)
            self._watcher.close()
            self._watcher = None

    def _on_watcher(self) -> None:
        if self._watcher is not None:
            for said in self._watcher.read():
                self._on_said(said)

    def _on_said(self, said: Said) -> None:
        from telepresence_py.process.watching import Changed, WatchFailed, Watching

        match said:
            case Watching(polling):
                self._settled_at = time.monotonic()
                if polling:
                    self._screen.say(self._polling(polling), Level.WARNING)
            case Changed(path):
                self._changed(path)
            case WatchFailed(reason):
                self._settled_at = time.monotonic()
                text = f"changes of {self._named} are not noticed ({reason}); a crash is"
                self._screen.say(text, Level.WARNING)
                self.close()

    def _polling(self, reason: str) -> str:
        return (
            f"the kernel does not tell of changes in {self._named} ({reason}), so they are looked for twice "
            "a second; name less by --watch, or raise fs.inotify.max_user_watches"
        )

    @property
    def _named(self) -> str:
        return ", ".join(self._paths)


def short(path: str) -> str:
    """The path as the user would name it from here."""
    try:
        here = os.getcwd()
    except FileNotFoundError:
        return path
    return os.path.relpath(path, here) if path.startswith(here.rstrip("/") + "/") else path
