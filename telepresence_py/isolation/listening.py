"""PURE. Reads /proc/net/tcp and /proc/net/udp: on which ports and addresses does somebody listen?

The format is that of the kernel's Documentation/networking/proc_net_tcp.rst, of tcp6, udp and udp6 as well:
an address is printed as 32-bit words in the machine's byte order, a port as a plain hexadecimal number.
"""

from __future__ import annotations

import ipaddress
import re
import sys

# sl, local address and port, remote port 0, state LISTEN; a table may have thousands of other rows
_LISTEN_ROW = re.compile(r"^ *\d+: ([0-9A-F]+):([0-9A-F]{4}) [0-9A-F]+:0000 0A ", re.MULTILINE)
# the same of UDP: a socket that is not connected has the state CLOSE
_BOUND_ROW = re.compile(r"^ *\d+: ([0-9A-F]+):([0-9A-F]{4}) [0-9A-F]+:0000 07 ", re.MULTILINE)


def listening_ports(*tables: str) -> dict[int, frozenset[str]]:
    """Port -> the addresses (`0.0.0.0`, `::`, `127.0.0.1`, ...) of its LISTEN rows, over all tables."""
    return _ports(_LISTEN_ROW, tables)


def bound_ports(*tables: str) -> dict[int, frozenset[str]]:
    """The same of the rows of UDP sockets that take datagrams from everybody."""
    return _ports(_BOUND_ROW, tables)


def _ports(row: re.Pattern[str], tables: tuple[str, ...]) -> dict[int, frozenset[str]]:
    found: dict[int, set[str]] = {}
    for table in tables:
        for words, port in row.findall(table):
            found.setdefault(int(port, 16), set()).add(_address(words))
    return {port: frozenset(addresses) for port, addresses in found.items()}


def _address(words: str) -> str:
    packed = b"".join(
        int(words[start : start + 8], 16).to_bytes(4, sys.byteorder) for start in range(0, len(words), 8)
    )
    return str(ipaddress.ip_address(packed))
