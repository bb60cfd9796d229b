"""Packets of a loopback port that get lost, by netfilter; the rules end with us, however we end.

What is lost is sent again between us and the link's process, which are near to each other: that shows what
gaps do to a stream, but less than a long way with losses does, where it takes a round trip to notice each.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence

from integration.support.waiting import wait_until

from .asking import Failed


def rules(table: str, ports: Sequence[int], percent: float) -> str:
    """PURE: for `nft -i`. The kernel removes a table with an owner when that one's socket is closed
    (nftables(8), flags owner)."""
    lost = f"numgen random mod 10000 < {round(percent * 100)} drop"
    lines = [
        f"add table inet {table} {{ flags owner; }}",
        f"add chain inet {table} arriving {{ type filter hook input priority 0; }}",
    ]
    for port in ports:
        for side in ("dport", "sport"):
            lines.append(f'add rule inet {table} arriving iif "lo" tcp {side} {port} {lost}')
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def losing(percent: float, ports: Sequence[int]) -> Iterator[None]:
    """So many percent of the packets to and from these ports of 127.0.0.1 are lost. Failed without nft."""
    if not percent:
        yield
        return
    table = f"telepresence_py_bench_{os.getpid()}_{ports[0]}"
    try:
        nft = subprocess.Popen(
            ["nft", "-i"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
    except OSError as error:
        raise Failed(f"--loss needs nft ({error})") from error
    with nft:
        assert nft.stdin is not None
        try:
            nft.stdin.write(rules(table, ports, percent))
            nft.stdin.flush()
            last = f"sport {ports[-1]}"
            wait_until(
                lambda: last in _listed(table), 5, "the rules that lose packets are there; they need root"
            )
            yield
        finally:
            nft.stdin.close()


def _listed(table: str) -> str:
    command = ["nft", "list", "table", "inet", table]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
