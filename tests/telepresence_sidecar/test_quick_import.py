"""What the start of the sidecar costs, by its causes."""

from __future__ import annotations

import ctypes.util
import os
import subprocess
import sys

from telepresence_sidecar.quick_import import no_library_search
from tests.fakes.sidecar_process import SOURCES

RUNS_NOTHING = """
import sys
started = []
sys.addaudithook(lambda event, _: started.append(event) if event in ("subprocess.Popen", "os.fork") else None)
import telepresence_sidecar.__main__
assert "asyncssh" in sys.modules
print(started)
"""


def test_the_sidecar_starts_without_running_another_program() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", RUNS_NOTHING],
        env={**os.environ, "PYTHONPATH": str(SOURCES)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout == "[]\n"


def test_libraries_are_found_again_afterwards() -> None:
    search = ctypes.util.find_library
    with no_library_search():
        assert ctypes.util.find_library("c") is None
    assert ctypes.util.find_library is search
