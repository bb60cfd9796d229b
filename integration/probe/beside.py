"""A shell by a method that leaves it on the laptop's own network: beside the CLI, in no world of its own."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from integration.probe.shell_child import ShellChild, shell_child
from integration.probe.town import peers, settle, target
from integration.support.aftermath import assert_no_process_left, assert_restored, remember
from integration.support.namespaces import Namespace
from integration.support.product import Product


def free_port() -> int:
    """A port of the laptop that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextlib.contextmanager
def shell_beside(
    town: Namespace, townsman: Product, name: str, method: str, port: int
) -> Iterator[ShellChild]:
    """In place of the workload `name`, which is made, with its port on `port` of the laptop. It ends with 7;
    after it all is restored, and nothing of it is left."""
    settle(town, *peers(), *target(name))
    before = remember(town, name)
    with shell_child(townsman, name, "--method", method, "-p", f"{port}:8080") as child:
        yield child
        stdin = child.swap.running.process.stdin
        assert stdin is not None
        stdin.write(b"exit 7\n")
        assert child.swap.running.wait() == 7
    assert_restored(before)
    assert_no_process_left(townsman)
    assert not list((townsman.directory / "run").rglob("volumes-*"))
