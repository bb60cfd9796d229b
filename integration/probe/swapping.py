"""A swap with the probe as its child: started, in place, asked, ended."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from integration.probe.asking import Probe
from integration.support.product import SECONDS, Product, Running


@dataclass(frozen=True)
class Swap:
    """A swap that is in place; `probe` is its child."""

    running: Running
    probe: Probe

    def end(self, seconds: float = SECONDS) -> int:
        """Close the child's stdin, so that it exits with 0; the CLI's exit code after the restore."""
        stdin = self.running.process.stdin
        assert stdin is not None
        with contextlib.suppress(BrokenPipeError):
            stdin.close()
        return self.running.wait(seconds)


def python_probe(product: Product, *listen: str) -> tuple[str, ...]:
    """The Python probe as a child, answering `laptop` to who it is; `listen` are its LISTEN words."""
    program = product.source("integration/probe/probe.py")
    return ("env", "PROBE_WHO=laptop", product.python, program, "ask", *listen)


@contextlib.contextmanager
def swapped(
    product: Product,
    *arguments: str,
    child: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[Swap]:
    """`swap ARGUMENTS -- CHILD` from "in place" on; CHILD is the Python probe on HTTP 8080 unless told.

    It is ended after the body, unless the body did; how it ends is for the body to judge.
    """
    command = tuple(child) or python_probe(product, "http:8080")
    running = product.start("swap", *arguments, "--", *command, environment=environment, pipe_stdout=True)
    swap = Swap(running, Probe(running.process))
    try:
        running.wait_in_place()
        yield swap
    finally:
        if running.process.poll() is None:
            swap.end()
