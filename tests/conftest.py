"""What holds for every test: whoever leaves a socket, file or coroutine to the garbage collector fails."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator

import pytest

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has it ignored by what it starts with &


@pytest.fixture(scope="session", autouse=True)
def _what_is_there_already_is_no_garbage() -> None:
    """All modules are imported: from here on the collector need not look through them, which takes long."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def _leaks_are_charged_to_their_file(_what_is_there_already_is_no_garbage: None) -> Iterator[None]:
    """Else whatever runs later pays. `python -X tracemalloc=20 -m pytest FILE` tells who opened it."""
    yield
    gc.collect()
