"""PURE. Reads /proc/net/tcp and /proc/net/tcp6: on which ports and addresses does somebody listen?

The format is that of the kernel's Documentation/networking/proc_net_tcp.rst: an address is printed as 32-bit
words in the machine's byte order, a port as a plain hexadecimal number.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterable

_LISTEN = "0A"


def listening_ports(*tables: str) -> dict[int, frozenset[str]]:
    """Port -> the addresses (`0.0.0.0`, `::`, `127.0.0.1`, ...) of its LISTEN rows, over all tables."""
    found: dict[int, set[str]] = {}
    for table in tables:
        for address, port in _rows(table.splitlines()[1:]):
            found.setdefault(port, set()).add(address)
    return {port: frozenset(addresses) for port, addresses in found.items()}


def _rows(lines: Iterable[str]) -> Iterable[tuple[str, int]]:
    for line in lines:
        fields = line.split(maxsplit=4)
        if len(fields) > 3 and fields[3] == _LISTEN:
            address, _, port = fields[1].partition(":")
            yield _address(address), int(port, 16)


def _address(words: str) -> str:
    packed = b"".join(
        int(words[start : start + 8], 16).to_bytes(4, sys.byteorder) for start in range(0, len(words), 8)
    )
    return str(ipaddress.ip_address(packed))
