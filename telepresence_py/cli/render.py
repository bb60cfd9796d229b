"""Events as lines on stderr: a live line on a terminal, plain lines elsewhere. stdout is never touched."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TextIO

from telepresence_py.model.errors import PreconditionFailed
from telepresence_py.model.events import Event, Level

PREFIX = "telepresence-py: "
_CLEAR_LINE = "\r\x1b[K"
_DIM, _YELLOW, _PLAIN = "\x1b[2m", "\x1b[33m", "\x1b[0m"


@dataclass(frozen=True)
class Wanted:
    """What the output options say. `log_file` gets every event, whatever the others say. `as_json` is for
    what a command answers on stdout."""

    quiet: bool = False
    verbose: bool = False
    debug: bool = False
    log_file: str | None = None
    as_json: bool = False


class Screen:
    """`with Screen(stream, wanted) as screen:`. While a child runs the terminal is its own: whole lines only.

    Raises PreconditionFailed on entering when the log file cannot be written.
    """

    def __init__(self, stream: TextIO, wanted: Wanted) -> None:
        self.wanted = wanted
        self._stream = stream
        self._is_terminal = _is_terminal(stream)
        self._log: TextIO | None = None
        self._live = ""
        self._child_runs = False
        self._child_wrote = False
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        if self.wanted.log_file is not None:
            self._log = _open_log(self.wanted.log_file)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.settle()
        if error is not None and not isinstance(error, SystemExit):
            self._write_log(Event("failed", str(error), Level.WARNING))
        if self._log is not None:
            self._log.close()

    def report(self, event: Event) -> None:
        """Show the event as its level asks for."""
        self._write_log(event)
        if not self._is_wanted(event.level):
            return
        if event.level is Level.STEP and self._is_terminal and not (self._child_runs or self.wanted.verbose):
            start, self._live = self._line_start(), event.text
            self._write(f"{start}{_DIM}{PREFIX}{_fitting(event.text)}{_PLAIN}")
        else:
            self._line(event)

    def say(self, text: str, level: Level = Level.NOTICE) -> None:
        """A line of the CLI's own."""
        self.report(Event("cli", text, level))

    def ask(self, question: str) -> None:
        """Show the question, the answer being typed behind it; shown even if `--quiet`."""
        self.settle()
        self._write(f"{PREFIX}{question} [y/N] ")

    def prompt(self, text: str) -> None:
        """A line that waits for the user; shown even if `--quiet`."""
        event = Event("waiting-for-user", text, Level.NOTICE)
        self._write_log(event)
        self._line(event)

    def child_begins(self) -> None:
        self.settle()
        self._child_runs = self._child_wrote = True

    def child_ended(self) -> None:
        self._child_runs = False

    def settle(self) -> None:
        """Leave the live line as it is and go to the next."""
        if self._live:
            self._live = ""
            self._write("\n")

    def _is_wanted(self, level: Level) -> bool:
        if self.wanted.quiet:
            return level is Level.WARNING
        return level is not Level.DETAIL or self.wanted.verbose

    def _line(self, event: Event) -> None:
        start, self._live = self._line_start(), ""
        elapsed = f"[{time.monotonic() - self._began:6.2f} s] " if self.wanted.verbose else ""
        colour = {Level.WARNING: _YELLOW, Level.NOTICE: ""}.get(event.level, _DIM)
        text = self._coloured(colour, f"{PREFIX}{elapsed}{event.text}")
        # a child may have switched the translation of newlines off
        self._write(f"{start}{text}" + ("\r\n" if self._is_terminal else "\n"))

    def _line_start(self) -> str:
        """What leads to an empty line, of which only a live line of ours is ever cleared away."""
        if not self._is_terminal:
            return ""
        if not self._child_wrote:
            return _CLEAR_LINE
        self._child_wrote = self._child_runs
        # the child left the cursor anywhere: a line's width of blanks ends on the next line unless it began
        # on an empty one (zsh does so before its prompt)
        return " " * _width() + "\r"

    def _coloured(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if colour and self._is_terminal else text

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            pass  # the terminal hung up, or stderr was closed: the session matters more

    def _write_log(self, event: Event) -> None:
        if self._log is not None:
            from datetime import UTC, datetime  # whoever keeps no log needs none

            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            self._log.write(f"{now} {event.level.value:7} {event.name}: {event.text}\n")
            self._log.flush()


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    except ValueError:
        return False


def _width() -> int:
    """Columns of the terminal; 0 when it does not tell."""
    try:
        return os.get_terminal_size(2).columns
    except OSError:
        return 0


def _fitting(text: str) -> str:
    """Cut to the terminal's width: a live line that wraps cannot be cleared."""
    room = _width() - len(PREFIX) - 1
    return text if len(text) <= room or room < 20 else text[: room - 1] + "…"


def _open_log(path: str) -> TextIO:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise PreconditionFailed(
            f"cannot write the log file {path} ({error.strerror}); choose another by --log-file"
        ) from error
    return os.fdopen(descriptor, "w", encoding="utf-8", errors="replace")
