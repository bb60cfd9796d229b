"""`--method proxy` without what Linux alone has: what a Mac runs, as far as a Linux machine can tell.

The product's programs run without what macOS's Python lacks (integration/support/elsewhere.py), and without
being told which method to take.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from integration.probe.shell_child import ShellChild, shell_child
from integration.probe.town import peers, settle, target
from integration.support.aftermath import Before, assert_no_process_left, assert_restored, remember
from integration.support.elsewhere import write_launcher
from integration.support.namespaces import Namespace
from integration.support.plain_user import PlainUser
from integration.support.product import Product, process_lives, product_for
from integration.support.waiting import wait_until


@dataclass
class ProductElsewhere(Product):
    """Its `program` is a file of the runs' own directory."""

    @property
    def program(self) -> str:
        return str(self.directory / "telepresence-py")


@pytest.fixture(scope="module")
def product(user: PlainUser, town: Namespace) -> Iterator[Product]:
    with product_for(user, town.developer_kubeconfig()) as plain:
        launcher = write_launcher(plain.directory, plain.python)
        elsewhere = ProductElsewhere(plain.user, plain.directory, plain.kubeconfig)
        program = Path(elsewhere.program)
        program.write_text(f'#!/bin/sh\nexec {launcher} -m telepresence_py "$@"\n')
        program.chmod(0o755)
        try:
            yield elsewhere
        finally:
            elsewhere.end_all()


@pytest.fixture(scope="module")
def before(town: Namespace) -> Before:
    settle(town, *peers(), *target("elsewhere"))
    return remember(town, "elsewhere")


@pytest.fixture(scope="module")
def port() -> int:
    """A port of the laptop that nobody has, nor is given by the kernel to who asks for any."""
    while True:
        number = random.randrange(15000, 20000)
        with suppress(OSError), socket.create_server(("127.0.0.1", number)):
            return number


def unless_refused(child: ShellChild, line: str) -> str:
    answer, code = child.run(line)
    return "" if code else answer


def said(child: ShellChild, line: str) -> str:
    answer, code = child.run(line)
    assert code == 0, answer
    return answer


def test_a_whole_swap_does_without_what_linux_alone_has(
    product: Product, town: Namespace, before: Before, port: int
) -> None:
    with shell_child(product, "elsewhere", "-p", f"{port}:8080") as child:
        told, _, after = child.swap.running.err.partition("Connected to ")
        assert "takes this laptop's own network" in told, "what it cannot do, before anything is touched"
        assert "--method proxy" in after

        # its Service may be behind its pod
        by_http = wait_until(
            lambda: unless_refused(child, "curl -fsS http://peer/by-curl"), 60, "peer answers"
        )
        assert json.loads(by_http)["path"] == "/by-curl"
        assert (
            json.loads(said(child, "env -u HTTP_PROXY -u http_proxy curl -sS http://peer/"))["who"] == "peer"
        )
        assert said(child, 'cat "$TELEPRESENCE_ROOT"/etc/target/config/colour') == "green"

        probe = product.source("integration/probe/probe.py")
        said(child, f"PROBE_WHO=laptop {product.python} {probe} serve http:{port} & serving=$!")
        try:
            answer = json.loads(town.ask("http://elsewhere/hello", seconds=30))
            assert (answer["who"], answer["path"]) == ("laptop", "/hello")
        finally:
            child.run("kill -9 $serving")

        listed = product.run("list", "--output", "json")
        assert listed.code == 0, listed.err
        assert "elsewhere" in listed.out

        stdin = child.swap.running.process.stdin
        assert stdin is not None
        stdin.write(b"exit 7\n")
        assert child.swap.running.wait() == 7
    assert_restored(before)
    assert_no_process_left(product)
    assert not list((product.directory / "run").rglob("volumes-*"))


def test_a_kill_of_the_command_line_ends_the_child_and_restores(
    product: Product, before: Before, port: int
) -> None:
    with shell_child(product, "elsewhere", "-p", f"{port}:8080") as child:
        pid = int(said(child, "echo $$"))
        os.kill(child.swap.running.pid, signal.SIGKILL)
        wait_until(lambda: not process_lives(pid), 10, "the child ends with its command line")
        assert child.swap.running.wait() == 128 + signal.SIGKILL
    assert_restored(before)
    assert_no_process_left(product)
