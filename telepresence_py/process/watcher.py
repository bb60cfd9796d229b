"""The program that watches files: `python -I -m telepresence_py.process.watcher FD`; `watching` has what is
said on FD.

The only module that imports watchfiles. Directories are watched with all below them; a file by its directory,
as editors put a new file in the place of the old one.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from telepresence_py import system
from telepresence_py.process.kernel import die_with_parent
from telepresence_py.process.watching import Changed, Said, WatchFailed, Watching, encode

GROUPING_MS = 1600
"""Changes are told together after a pause of QUIET_MS, at the latest after so long."""

QUIET_MS = 100
POLL_MS = 500

Matters = Callable[[str], bool]


@dataclass(frozen=True)
class Task:
    """What one call of the library watches, and which of the changes that it tells matter."""

    directories: tuple[str, ...]
    recursive: bool
    matters: Matters


def tasks(paths: Sequence[str], uninteresting: Callable[[str], bool]) -> list[Task]:
    """Pure but for looking which paths are directories. `uninteresting` judges a path below a watched one:
    what was named itself always matters."""
    directories = tuple(path for path in paths if os.path.isdir(path))
    files = frozenset(path for path in paths if path not in directories)

    def matters(changed: str) -> bool:
        return any(
            not uninteresting(os.path.relpath(changed, root))
            for root in directories
            if changed.startswith(root.rstrip("/") + "/")
        )

    found = [Task(directories, True, matters)] if directories else []
    if files:
        parents = tuple(sorted({os.path.dirname(path) for path in files}))
        found.append(Task(parents, False, files.__contains__))
    return found


class Voice:
    """Says lines to the CLI, from any thread; `watching` once every task stands."""

    def __init__(self, line: socket.socket, waits_for: int) -> None:
        self._line = line
        self._lock = threading.Lock()
        self._waits_for = waits_for
        self._polling = ""

    def stands(self, polling: str) -> None:
        with self._lock:
            self._waits_for -= 1
            self._polling = self._polling or polling
            if self._waits_for == 0:
                self._say(Watching(self._polling))

    def say(self, said: Said) -> None:
        with self._lock:
            self._say(said)

    def _say(self, said: Said) -> None:
        with suppress(OSError):  # the CLI is gone, and we with it
            self._line.sendall(encode(said))


class _Beginning:
    """What the library takes for a stop event: it asks for it again and again as soon as the watch stands."""

    def __init__(self, stands: Callable[[], None]) -> None:
        self._stands: Callable[[], None] | None = stands

    def is_set(self) -> bool:
        if self._stands is not None:
            self._stands()
            self._stands = None
        return False


def watch(task: Task, voice: Voice) -> None:
    """Tell of changes for ever; by polling where the kernel refuses to tell us."""
    try:
        try:
            _tell(task, voice)
        except PermissionError:
            # what we may not read is left out. Not asked for at once, as the library would then be silent
            # about the kernel's limits, too
            _tell(task, voice, lenient=True)
    except Exception as error:  # noqa: BLE001 - the library's own error types are not public
        try:
            _tell(task, voice, lenient=True, polling=_reason(error))
        except Exception as last:  # noqa: BLE001
            voice.say(WatchFailed(_reason(last)))


def _tell(task: Task, voice: Voice, lenient: bool = False, polling: str = "") -> None:
    import watchfiles

    changes = watchfiles.watch(
        *task.directories,
        watch_filter=None,
        debounce=GROUPING_MS,
        step=QUIET_MS,
        stop_event=_Beginning(lambda: voice.stands(polling)),
        force_polling=bool(polling) or None,
        poll_delay_ms=POLL_MS,
        recursive=task.recursive,
        ignore_permission_denied=lenient,
    )
    for group in changes:
        mattering = [
            path
            for kind, path in group
            # a directory is modified by whatever is made in it, and that is told, too
            if task.matters(path) and not (kind is watchfiles.Change.modified and os.path.isdir(path))
        ]
        if mattering:
            voice.say(Changed(min(mattering)))


def _reason(error: Exception) -> str:
    return str(error).partition(" about [")[0].rstrip(".") or type(error).__name__


def _uninteresting() -> Callable[[str], bool]:
    """The library's own choice of what is no source: version control, caches, backup files of editors."""
    from watchfiles import Change, DefaultFilter

    interesting = DefaultFilter()
    return lambda path: not interesting(Change.modified, path)


def main() -> None:
    with socket.socket(fileno=int(sys.argv[1])) as line:
        if system.LINUX:
            die_with_parent()  # else the end of the line, which is the CLI's, too, tells of it
        with line.makefile("rb") as request:
            if not (paths := request.readline()):
                return  # the CLI was gone before we could ask to die with it
            try:
                found = tasks(json.loads(paths), _uninteresting())
            except ImportError as error:
                line.sendall(encode(WatchFailed(str(error))))
                return
            voice = Voice(line, len(found))
            for task in found:
                threading.Thread(target=watch, args=(task, voice), daemon=True).start()
            request.readline()  # until the CLI closes its end


if __name__ == "__main__":
    main()
