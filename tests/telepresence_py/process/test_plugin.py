"""Real programs as plugins, at a real terminal where it matters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import termios
import time

import pytest

from telepresence_py.model.plugin import Failure, Interaction, PluginCall
from telepresence_py.process.plugin import PluginRun, run_plugin

INFO: dict[str, object] = {"kind": "ExecCredential", "spec": {"cluster": {"server": "s"}}}


def call(
    *command: str, interaction: Interaction = Interaction.IF_AVAILABLE, **environment: str
) -> PluginCall:
    return PluginCall(command, environment, INFO, interaction)


def shell(program: str, **more: str) -> PluginCall:
    return call("sh", "-c", program, **more)


def test_what_it_writes_is_its_answer_and_it_is_told_what_it_may():
    end = run_plugin(shell('echo "$EXTRA $KUBERNETES_EXEC_INFO"', EXTRA="more"), terminal=False)
    extra, info = end.output.split(" ", 1)
    assert (end.status, extra) == (0, "more")
    assert json.loads(info) == {
        "kind": "ExecCredential",
        "spec": {"cluster": {"server": "s"}, "interactive": False},
    }


def test_without_a_terminal_its_stdin_is_empty_and_stderr_may_be_kept():
    end = run_plugin(shell("cat; echo alas >&2; exit 3"), terminal=False, aside=True)
    assert (end.status, end.output, end.complaint) == (3, "", "alas")


def test_a_signal_is_told_as_a_negative_status():
    assert run_plugin(shell("kill -9 $$"), terminal=False).status == -9


@pytest.mark.parametrize(
    ("command", "failure"),
    [(("no-such-plugin-at-all",), Failure.MISSING), (("/etc/passwd",), Failure.NOT_EXECUTABLE)],
)
def test_what_cannot_be_run_is_told(command, failure):
    assert run_plugin(call(*command), terminal=False).failure is failure


def test_one_that_needs_a_terminal_is_not_run_without(tmp_path):
    end = run_plugin(call("touch", str(tmp_path / "ran"), interaction=Interaction.ALWAYS), terminal=False)
    assert end.failure is Failure.NO_TERMINAL
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("aside", [False, True])
def test_one_that_hangs_is_killed_with_what_it_started(tmp_path, aside):
    began = time.monotonic()
    end = run_plugin(shell("exec sleep 60"), terminal=False, aside=aside, patience=0.2)
    assert end.failure is Failure.TOO_LATE
    assert time.monotonic() - began < 10


def test_a_process_that_it_leaves_behind_is_not_waited_for():
    began = time.monotonic()
    end = run_plugin(shell("sleep 20 & echo done; echo $! >&2"), terminal=False, aside=True)
    assert (end.output, end.status) == ("done\n", 0)
    assert time.monotonic() - began < 10
    os.kill(int(end.complaint), 9)


def test_a_large_answer_arrives_whole():
    assert len(run_plugin(shell("head -c 300000 /dev/zero | tr '\\0' x"), terminal=False).output) == 300000


def test_leaving_ends_one_that_still_runs():
    with PluginRun(shell("sleep 60"), terminal=False) as run:
        assert run.advance() is None
        pid = run._pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


AT_TERMINAL = """
import sys
from telepresence_py.model.plugin import Interaction, PluginCall
from telepresence_py.process.plugin import run_plugin_here
call = PluginCall(tuple(sys.argv[1:]), {}, {"spec": {}}, Interaction.ALWAYS)
end = run_plugin_here(call)
print(end.status, end.output, flush=True)
"""


def test_at_a_terminal_it_may_ask_and_what_it_left_switched_off_is_switched_on_again():
    ours, theirs = os.openpty()
    words = ("sh", "-c", "stty -echo; echo ready >&2; read -r word; echo $word; kill -9 $$")
    process = subprocess.Popen(
        ["setsid", "--ctty", sys.executable, "-c", AT_TERMINAL, *words],
        stdin=theirs, stdout=subprocess.PIPE, stderr=theirs,
    )  # fmt: skip
    try:
        seen = b""
        while b"ready" not in seen:
            seen += os.read(ours, 1024)
        os.write(ours, b"sesame\n")
        out, _ = process.communicate(timeout=20)
        assert out.decode() == "-9 sesame\n\n"
        assert termios.tcgetattr(theirs)[3] & termios.ECHO
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)
