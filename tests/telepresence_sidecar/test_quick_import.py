"""What the start of the sidecar costs, by its causes."""

from __future__ import annotations

import ctypes.util
import os
import subprocess
import sys

from telepresence_sidecar.quick_import import no_library_search
from tests.fakes.sidecar_process import SOURCES

IMPORT = """
import gc, sys
programs = []
RUN = ("subprocess.Popen", "os.fork")
sys.addaudithook(lambda event, _: programs.append(event) if event in RUN else None)
import telepresence_sidecar.__main__
assert "asyncssh" in sys.modules
print(programs, gc.isenabled())
"""


def test_the_sidecar_is_imported_without_running_programs_or_looking_for_garbage() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", IMPORT],
        env={**os.environ, "PYTHONPATH": str(SOURCES)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout == "[] False\n"


def test_libraries_are_found_again_afterwards() -> None:
    search = ctypes.util.find_library
    with no_library_search():
        assert ctypes.util.find_library("c") is None
    assert ctypes.util.find_library is search
