"""Makes two networks of the pod that it runs in dead ends, by rtnetlink; as an init container with NET_ADMIN.

Connecting into NO_HOST fails with EHOSTUNREACH, into NO_NETWORK with ENETUNREACH. Needs Python 3 and nothing
else.
"""

from __future__ import annotations

import socket
import struct

NO_HOST = ("198.51.100.0/24", "2001:db8:1::/64")
NO_NETWORK = ("203.0.113.0/24", "2001:db8:2::/64")
_UNREACHABLE, _THROW = 7, 9


def dead_end(network: str, kind: int) -> None:
    """`ip route add unreachable|throw NETWORK`; OSError when the kernel refuses."""
    address, _slash, length = network.partition("/")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    packed = socket.inet_pton(family, address)
    route = struct.pack("=BBBBBBBBI", family, int(length), 0, 0, 254, 4, 0, kind, 0)
    body = route + struct.pack("=HH", 4 + len(packed), 1) + packed
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as wire:
        wire.send(struct.pack("=IHHII", 16 + len(body), 24, 0x605, 1, 0) + body)
        (negative_errno,) = struct.unpack_from("=i", wire.recv(4096), 16)
    if negative_errno:
        raise OSError(-negative_errno, network)


if __name__ == "__main__":
    for kind, networks in ((_UNREACHABLE, NO_HOST), (_THROW, NO_NETWORK)):
        for each in networks:
            dead_end(each, kind)
