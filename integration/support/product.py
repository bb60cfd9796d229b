"""`telepresence-py` as a plain user runs it: its streams, its end, and every way to send it away."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from integration.support.namespaces import write_kubeconfig
from integration.support.plain_user import SYSTEM_PATH, PlainUser
from integration.support.terminal import Terminal
from integration.support.waiting import wait_until

SECONDS = 120.0
"""A deadline, no promise: on a machine with other work a start or an end takes many times as long."""


@dataclass(frozen=True)
class Finished:
    """How a run ended and what it said."""

    code: int
    out: str
    err: str


@dataclass
class Running:
    """A run that goes on, the leader of a session and process group of its own, as under an IDE.

    stderr, and stdout unless it is piped, go to files; so a run never waits for a reader.
    """

    process: subprocess.Popen[bytes]
    out_file: Path
    err_file: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def out(self) -> str:
        return self.out_file.read_text(errors="replace")

    @property
    def err(self) -> str:
        return self.err_file.read_text(errors="replace")

    def wait_err(self, pattern: str, seconds: float = SECONDS) -> re.Match[str]:
        """The first match of a regular expression on stderr; at once an error when the run ends without."""
        return self._wait_for(pattern, lambda: self.err, seconds)

    def wait_out(self, pattern: str, seconds: float = SECONDS) -> re.Match[str]:
        return self._wait_for(pattern, lambda: self.out, seconds)

    def wait_in_place(self, seconds: float = SECONDS) -> None:
        """Until the swap says that the originals are gone."""
        self.wait_err(r"In place: ", seconds)

    def _wait_for(self, pattern: str, text: Callable[[], str], seconds: float) -> re.Match[str]:
        sought = re.compile(pattern, re.MULTILINE)

        def found() -> re.Match[str] | None:
            ended = self.process.poll() is not None
            match = sought.search(text())
            if match is None and ended:
                raise AssertionError(
                    f"ended with {self.process.returncode} before saying {pattern!r}:\n{self.out}\n{self.err}"
                )
            return match

        return wait_until(found, seconds, f"the run says {pattern!r}", seen=lambda: f"{self.out}\n{self.err}")

    def wait(self, seconds: float = SECONDS) -> int:
        """The exit code, as a shell would tell it (128+n for a signal); an error after `seconds`."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds:g} s:\n{self.out}\n{self.err}") from None
        return code if code >= 0 else 128 - code

    def finish(self, seconds: float = SECONDS) -> Finished:
        code = self.wait(seconds)
        return Finished(code, self.out, self.err)

    def send(self, number: signal.Signals) -> None:
        """To the CLI alone."""
        self.process.send_signal(number)

    def send_group(self, number: signal.Signals) -> None:
        """To the CLI's whole process group: ^C at a terminal, and an IDE's Stop with SIGKILL."""
        os.killpg(self.process.pid, number)

    def session_pid(self, seconds: float = 60) -> int:
        """The pid of the session process; while the CLI lives, whose child it is."""
        return wait_until(lambda: _session_of(self.pid), seconds, "the CLI has a session process")


@dataclass
class Product:
    """The installed product, run by `user` with `kubeconfig`; whatever it starts is ended by `end_all`.

    `directory` is the runs' own: kubeconfig, runtime directory (XDG_RUNTIME_DIR), what they said.
    """

    user: PlainUser
    directory: Path
    kubeconfig: Path
    _started: list[Running | Terminal] = field(default_factory=list)

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """A login's variables, and nothing of the tests' own."""
        return {
            "PATH": f"{self.user.venv}/bin:{SYSTEM_PATH}",
            "HOME": str(self.user.home),
            "USER": self.user.name,
            "LOGNAME": self.user.name,
            "SHELL": "/bin/bash",
            "LANG": "C.UTF-8",
            "XDG_RUNTIME_DIR": str(self.directory / "run"),
            "KUBECONFIG": str(self.kubeconfig),
            **(more or {}),
        }

    @property
    def program(self) -> str:
        return str(self.user.venv / "bin" / "telepresence-py")

    @property
    def python(self) -> str:
        """The interpreter to name in a child's command."""
        return str(self.user.venv / "bin" / "python")

    def source(self, name: str) -> str:
        """A file of this repository, such as integration/probe/probe.py, where the user can read it."""
        return str(self.user.sources / name)

    def run(
        self,
        *arguments: str,
        seconds: float = SECONDS,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
    ) -> Finished:
        """`telepresence-py ARGUMENTS` to its end."""
        running = self.start(*arguments, environment=environment)
        assert running.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            running.process.stdin.write(stdin)
            running.process.stdin.close()
        return running.finish(seconds)

    def start(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        pipe_stdout: bool = False,
        directory: Path | None = None,
    ) -> Running:
        """`telepresence-py ARGUMENTS`, with stdin a pipe; with `pipe_stdout` stdout too (for a Probe)."""
        return self.start_command([self.program, *arguments], environment, pipe_stdout, directory)

    def start_command(
        self,
        command: list[str],
        environment: Mapping[str, str] | None = None,
        pipe_stdout: bool = False,
        directory: Path | None = None,
    ) -> Running:
        """Any command as the plain user, `telepresence-py` on its PATH."""
        name = f"{len(self._started)}"
        out, err = self.directory / f"{name}.out", self.directory / f"{name}.err"
        with out.open("wb") as out_stream, err.open("wb") as err_stream:
            process = subprocess.Popen(  # type: ignore[call-overload]
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if pipe_stdout else out_stream,
                stderr=err_stream,
                bufsize=0,
                cwd=directory or self.user.home,
                env=self.environment(environment),
                start_new_session=True,
                **self.user.popen_arguments(),
            )
        running = Running(process, out, err)
        self._started.append(running)
        return running

    def terminal(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Terminal:
        """`telepresence-py ARGUMENTS` in a terminal of its own, as the leader of its session."""
        return self.terminal_command([self.program, *arguments], environment)

    def shell(self, environment: Mapping[str, str] | None = None) -> Terminal:
        """An interactive bash in a terminal, with job control and a prompt of "$ "."""
        more = {"PS1": "$ ", **(environment or {})}
        return self.terminal_command(["/bin/bash", "--norc", "--noprofile", "-i"], more)

    def terminal_command(self, command: list[str], environment: Mapping[str, str] | None = None) -> Terminal:
        more = {"TERM": "xterm", **(environment or {})}
        terminal = Terminal(command, self.environment(more), self.user)
        self._started.append(terminal)
        return terminal

    def end_all(self, seconds: float = 40) -> None:
        """SIGTERM to whatever still runs, then SIGKILL; pipes and terminals closed."""
        for running in reversed(self._started):
            process = running.process
            if isinstance(running, Terminal):
                running.close()  # an interactive shell ends by the hang-up alone
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(seconds)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait(5)
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(BrokenPipeError):
                        stream.close()


@contextlib.contextmanager
def product_for(user: PlainUser, kubeconfig: dict[str, Any]) -> Iterator[Product]:
    """The product for that user with that kubeconfig, in a directory of its own; all of it gone after."""
    directory = user.give(Path(tempfile.mkdtemp(dir=user.runs)))
    runtime = directory / "run"
    runtime.mkdir(mode=0o700)
    user.give(runtime)
    path = directory / "kubeconfig"
    write_kubeconfig(path, kubeconfig)
    product = Product(user, directory, user.give(path))
    try:
        yield product
    finally:
        product.end_all()
        shutil.rmtree(directory, ignore_errors=True)


def _session_of(cli: int) -> int | None:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, IndexError, ValueError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == cli and b"telepresence_py.session" in (entry / "cmdline").read_bytes():
                return int(entry.name)
    return None


def process_lives(pid: int) -> bool:
    """Whether that process runs; one that ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
