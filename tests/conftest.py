"""What holds for every test: whoever leaves a socket, file or coroutine to the garbage collector fails."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator

import pytest

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has it ignored by what it starts with &
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and nohup this one


LONG_FILES = (
    "tunnel/test_resuming.py",
    "cli/test_conversation.py",
    "cli/test_children.py",
    "conformance/test_tunnel.py",
    "isolation/test_syn_queue.py",
    "session/test_replicas.py",
    "session/test_follower.py",
    "cli/test_main.py",
    "cli/test_terminal.py",
    "telepresence_sidecar/test_lifetime.py",
    "telepresence_sidecar/test_server.py",
    "process/test_watcher.py",
    "cli/test_dry_run.py",
    "cli/test_leftovers.py",
    "cli/test_children_at_terminal.py",
    "cli/test_sidecar_load.py",
)
"""Each five seconds and more, the longest first: so that no worker begins one when the others have ended."""

WHOLE = frozenset(
    {
        "cli/test_children.py",
        "cli/test_children_at_terminal.py",
        "cli/test_conversation.py",
        "cli/test_conversation_elsewhere.py",
        "cli/test_dry_run.py",
        "cli/test_leftovers.py",
        "cli/test_main.py",
        "cli/test_sidecar_image.py",
        "cli/test_sidecar_load.py",
        "cli/test_sidecar_push.py",
        "cli/test_terminal.py",
        "conformance/test_tunnel.py",
        "fuse/test_mounted.py",
        "isolation/test_agent.py",
        "isolation/test_diagnosis.py",
        "isolation/test_mounts.py",
        "isolation/test_network.py",
        "isolation/test_redirecting.py",
        "isolation/test_syn_queue.py",
        "telepresence_py/test_systems.py",
        "telepresence_sidecar/test_server.py",
        "tunnel/test_resuming.py",
    }
)
"""Files whose tests start the whole program, or make namespaces and mounts, each anew: half of all seconds.
`scripts/test --quick` leaves them out (mark `whole`)."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "whole: starts the whole program, or makes namespaces (set by file)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {name: number for number, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: rank.get(_file_of(item), len(rank)))
    for item in items:
        if _file_of(item) in WHOLE:
            item.add_marker(pytest.mark.whole)


def _file_of(item: pytest.Item) -> str:
    return "/".join(item.path.parts[-2:])


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
