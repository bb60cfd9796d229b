"""A shell as the child that runs what a test sends it: one swap for many commands."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from integration.probe.asking import Probe
from integration.probe.swapping import Swap, swapped
from integration.support.product import Product

_END = "-- ended with "


@dataclass(frozen=True)
class ShellChild:
    """`run` a command line inside; its output, stderr too, and exit code."""

    swap: Swap

    def run(self, line: str, seconds: float = 90.0) -> tuple[str, int]:
        stdin = self.swap.running.process.stdin
        assert stdin is not None
        # nothing of what is run may read the lines that follow
        stdin.write(f'{{ {line}; }} </dev/null 2>&1; printf "\\n{_END}%s\\n" $?\n'.encode())
        stdin.flush()
        lines: list[str] = []
        while not (said := self._line(seconds)).startswith(_END):
            lines.append(said)
        return "\n".join(lines).strip(), int(said.removeprefix(_END))

    def _line(self, seconds: float) -> str:
        probe: Probe = self.swap.probe
        return probe.read_line(seconds).decode(errors="replace")


@contextlib.contextmanager
def shell_child(product: Product, *arguments: str) -> Iterator[ShellChild]:
    """`swap ARGUMENTS -- sh`, in place."""
    with swapped(product, *arguments, "--ready", "now", child=("sh",)) as swap:
        yield ShellChild(swap)
