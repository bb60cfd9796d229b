"""PURE: IP packets that carry one UDP datagram, or say that one was refused; for raw sockets.

A reply to the child must come from the address that the child sent to, which is not an address of ours: so
the headers are written here (RFC 768, RFC 791, RFC 8200; RFC 792, RFC 4443).
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

UDP = 17
ICMP, ICMPV6 = 1, 58
_PORT_UNREACHABLE = {4: (3, 3), 6: (1, 4)}
HOP_LIMIT = 64
MOST_IPV4 = 65535 - 20 - 8
MOST_IPV6 = 65535 - 8


class Endpoint(NamedTuple):
    """An IP address in text, without scope, and a port."""

    address: str
    port: int


class FlowKey(NamedTuple):
    """The two ends of a flow of datagrams: the child's, and the other."""

    child: Endpoint
    destination: Endpoint


def endpoint_of(sockaddr: tuple[object, ...]) -> Endpoint:
    """What the socket module hands out, without flow info and scope; ::ffff:a.b.c.d becomes a.b.c.d."""
    address = str(sockaddr[0]).partition("%")[0]
    if address.startswith("::ffff:") and "." in address:
        address = address[len("::ffff:") :]
    return Endpoint(address, int(str(sockaddr[1])))


def canonical(address: str) -> str:
    """As the kernel's addresses are written; what is none stays as it is, and matches nothing."""
    try:
        return str(ip_address(address))
    except ValueError:
        return address


def udp_packet(source: Endpoint, destination: Endpoint, payload: bytes) -> bytes:
    """A whole IPv4 or IPv6 packet from `source` to `destination`; no options, not fragmented.

    In IPv4 the header's length, identification and checksum are left to the kernel (raw(7)), and the UDP
    checksum is 0, "not computed". ValueError when the families differ or the payload cannot fit.
    """
    sender, receiver = ip_address(source.address), ip_address(destination.address)
    length = 8 + len(payload)
    if isinstance(sender, IPv4Address) and isinstance(receiver, IPv4Address):
        if len(payload) > MOST_IPV4:
            raise ValueError(f"{len(payload)} bytes do not fit into one IPv4 datagram")
        udp = struct.pack(">HHHH", source.port, destination.port, length, 0)
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 0, 0, 0, HOP_LIMIT, UDP, 0)
        return b"".join((ip, sender.packed, receiver.packed, udp, payload))
    if isinstance(sender, IPv6Address) and isinstance(receiver, IPv6Address):
        if len(payload) > MOST_IPV6:
            raise ValueError(f"{len(payload)} bytes do not fit into one IPv6 datagram")
        addresses = sender.packed + receiver.packed
        udp = struct.pack(">HHHH", source.port, destination.port, length, 0)
        sum_of_all = checksum(b"".join((addresses, struct.pack(">II", length, UDP), udp, payload)))
        # 0 would say "not computed", which IPv6 forbids; 0xffff is the same number in ones' complement
        udp = struct.pack(">HHHH", source.port, destination.port, length, sum_of_all or 0xFFFF)
        ip = struct.pack(">IHBB", 6 << 28, length, UDP, HOP_LIMIT)
        return b"".join((ip, addresses, udp, payload))
    raise ValueError(f"{source.address} and {destination.address} are not of one family")


def unreachable_packet(sender: Endpoint, destination: Endpoint) -> bytes:
    """A whole packet from `destination` that tells `sender` that its datagram found no port there.

    A connected socket then has ECONNREFUSED. ValueError when the families differ.
    """
    quoted = udp_packet(sender, destination, b"")
    receiver, teller = ip_address(sender.address), ip_address(destination.address)
    kind, code = _PORT_UNREACHABLE[teller.version]
    if isinstance(teller, IPv4Address):
        head = struct.pack(">BBHI", kind, code, checksum(struct.pack(">BBHI", kind, code, 0, 0) + quoted), 0)
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 0, 0, 0, HOP_LIMIT, ICMP, 0)
        return b"".join((ip, teller.packed, receiver.packed, head, quoted))
    addresses = teller.packed + receiver.packed
    pseudo = addresses + struct.pack(">II", 8 + len(quoted), ICMPV6)
    sum_of_all = checksum(pseudo + struct.pack(">BBHI", kind, code, 0, 0) + quoted)
    head = struct.pack(">BBHI", kind, code, sum_of_all, 0)
    ip = struct.pack(">IHBB", 6 << 28, 8 + len(quoted), ICMPV6, HOP_LIMIT)
    return b"".join((ip, addresses, head, quoted))


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of data, as if padded to an even length."""
    if len(data) % 2:
        data += b"\0"
    number = int.from_bytes(data, "big")
    # 2**16 is 1 modulo 0xffff: the remainder of the whole number is the ones' complement sum of its words,
    # and costs one pass in C. A sum that is a multiple of 0xffff, yet not of nothing but zeros, is 0xffff.
    folded = number % 0xFFFF
    if folded == 0 and number:
        folded = 0xFFFF
    return ~folded & 0xFFFF
