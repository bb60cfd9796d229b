"""Commands whose standard streams are closed or full."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from telepresence_py.cli.streams import output_trouble

ROOT = Path(__file__).parents[3]
COMMAND = f"{sys.executable} -m telepresence_py"


def shell(line: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "sidecar")))}
    return subprocess.run(
        ["sh", "-c", line], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("words", ["--help", "sidecar image"])
def test_a_full_disk_is_no_bug(words):
    done = shell(f"{COMMAND} {words} >/dev/full")
    assert done.returncode == 78
    assert done.stderr == "telepresence-py: standard output cannot be written (No space left on device)\n"


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "0<&- 1>&- 2>&-"])
def test_closed_streams_change_nothing(closed):
    assert shell(f"{COMMAND} sidecar image {closed}").returncode == 0


def test_the_exit_code_is_the_same_where_nobody_hears_why():
    assert shell(f"{COMMAND} swap a/b/c 2>&-").returncode == 2


def test_other_errors_are_none_of_the_output():
    assert output_trouble(ValueError("x")) is None
    assert output_trouble(OSError(errno.ENOSPC, "full", "/some/file")) is None
    assert output_trouble(ConnectionResetError(errno.ECONNRESET, "reset")) is None
