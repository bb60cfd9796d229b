"""The CLI as a subprocess with the FAKE session process: starting it, and what the session heard."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from integration.support.elsewhere import write_launcher
from tests.fakes.terminal import DEADLINE_SECONDS, Person

CLI = str(Path(__file__).with_name("cli.py"))


class Swapping:
    """One per test; `directory` is a temporary one, `opening` what is before the options."""

    def __init__(self, directory: Path, *opening: str) -> None:
        self.opening = opening or ("swap", "orders")
        self.directory = directory
        self.script = directory / "script.json"
        self.heard_file = directory / "heard"
        runtime = directory / "runtime"
        runtime.mkdir(mode=0o700, exist_ok=True)
        here = str(Path(__file__).parents[2])
        self.environment = {
            **os.environ,
            "FAKE_SESSION": str(self.script),
            "FAKE_SESSION_HEARD": str(self.heard_file),
            "XDG_RUNTIME_DIR": str(runtime),
            "PYTHONPATH": os.pathsep.join((here, os.path.join(here, "sidecar"))),
            "TERM": "xterm",
        }
        self.ignored: tuple[str, ...] = ()
        """Names of signals that the caller of the CLI ignores, as nohup does."""
        self.python = sys.executable
        self._started: list[subprocess.Popen[str]] = []
        self.logs = runtime / "telepresence-py"

    def go_elsewhere(self) -> None:
        """Have it run as on a system that is not Linux."""
        self.python = write_launcher(self.directory, self.python)

    def words(self, *command: str, options: Sequence[str] = ()) -> list[str]:
        words = [self.python, CLI, *self.opening, *options, "--", *command]
        if not self.ignored:
            return words
        return ["sh", "-c", f'trap "" {" ".join(self.ignored)}; exec "$@"', "sh", *words]

    def begin(
        self, *command: str, options: Sequence[str] = (), cwd: str | None = None, **script: Any
    ) -> subprocess.Popen[str]:
        """Start it without a terminal, in a process group of its own."""
        self.script.write_text(json.dumps(script))
        process = subprocess.Popen(
            self.words(*command, options=options),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
            cwd=cwd,
            process_group=0,
        )
        self._started.append(process)
        return process

    def close(self) -> None:
        """End what a failed test left running."""
        for process in self._started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            with process:
                pass

    def finish(
        self, *command: str, options: Sequence[str] = (), cwd: str | None = None, **script: Any
    ) -> tuple[int, str, str]:
        """Run it to its end: exit code, stdout, stderr."""
        process = self.begin(*command, options=options, cwd=cwd, **script)
        out, err = process.communicate(timeout=DEADLINE_SECONDS)
        return process.returncode, out, err

    def at_terminal(self, *command: str, options: Sequence[str] = (), **script: Any) -> Person:
        self.script.write_text(json.dumps(script))
        return Person(self.words(*command, options=options), self.environment)

    def heard(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.heard_file.read_text().splitlines()]

    def heard_tags(self) -> list[str]:
        return [str(fact.get("do") or fact.get("did")) for fact in self.heard()]
