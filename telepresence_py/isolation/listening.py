"""PURE. Reads /proc/net/tcp and /proc/net/tcp6: on which ports and addresses does somebody listen?

The format is that of the kernel's Documentation/networking/proc_net_tcp.rst: an address is printed as 32-bit
words in the machine's byte order, a port as a plain hexadecimal number.
"""

from __future__ import annotations

import ipaddress
import re
import sys

# sl, local address and port, remote port 0, state LISTEN; a table may have thousands of other rows
_LISTEN_ROW = re.compile(r"^ *\d+: ([0-9A-F]+):([0-9A-F]{4}) [0-9A-F]+:0000 0A ", re.MULTILINE)


def listening_ports(*tables: str) -> dict[int, frozenset[str]]:
    """Port -> the addresses (`0.0.0.0`, `::`, `127.0.0.1`, ...) of its LISTEN rows, over all tables."""
    found: dict[int, set[str]] = {}
    for table in tables:
        for words, port in _LISTEN_ROW.findall(table):
            found.setdefault(int(port, 16), set()).add(_address(words))
    return {port: frozenset(addresses) for port, addresses in found.items()}


def _address(words: str) -> str:
    packed = b"".join(
        int(words[start : start + 8], 16).to_bytes(4, sys.byteorder) for start in range(0, len(words), 8)
    )
    return str(ipaddress.ip_address(packed))
