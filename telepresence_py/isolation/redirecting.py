"""Capture for kernels without tproxy: by redirection (NAT). In the words of nft(8), for IPv4:

    table ip telepresence {
      chain answers { type filter hook output priority raw
        meta mark 0x54600 notrack }
      chain capture { type nat hook output priority -100
        ip daddr != 127.0.0.0/8 ip daddr & 240.0.0.0 != 224.0.0.0
          ip daddr != <pod addresses, 255.255.255.255> meta l4proto tcp redirect to :P
        ip daddr <pod address> meta l4proto tcp th dport <helper port> redirect to :P
        the same for udp } }

The destination that was meant is known to conntrack: a connection's own socket tells it (SO_ORIGINAL_DST);
for a datagram it is asked for by netlink (nf_conntrack_netlink), and so is the child's port, which NAT
changes where two flows would look alike. Answers are written by raw sockets, with a mark: tracked, they would
be taken for a flow of their own, and get another port. The sockets look to others like those of tproxy.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Any, NamedTuple

from telepresence_py.isolation import netlink_socket
from telepresence_py.isolation.netlink import (
    NLMSG_ERROR,
    Request,
    attribute,
    attributes,
    message,
    messages,
    nested,
)
from telepresence_py.isolation.nft_words import (
    OUTPUT,
    TCP,
    UDP,
    Chain,
    Rule,
    is_foreign,
    is_marked,
    is_protocol,
    is_to,
    new_table,
    protocol_family,
    redirect_to,
    untracked,
)

ANSWER_MARK = 0x54600
_PRIORITY_RAW, _PRIORITY_NAT = -300, -100
_SO_MARK = 36

# <linux/netfilter_ipv4.h>, <linux/netfilter_ipv6/ip6_tables.h>, <linux/in.h>, <linux/in6.h>
_SO_ORIGINAL_DST = 80
_IP_ORIGDSTADDR, _IPV6_ORIGDSTADDR = 20, 74

# <linux/netfilter/nfnetlink_conntrack.h>
_GET = 1 << 8 | 1
_TUPLE_ORIGINAL, _TUPLE_REPLY = 1, 2
_TUPLE_IP, _TUPLE_PROTOCOL = 1, 2
_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3

_BACKLOG = 4096
_ROOM = 1 << 16


class Redirection(NamedTuple):
    """What goes to `port` in one family; the rest as in `nftables.Capture`."""

    family: int
    pod_addresses: tuple[bytes, ...]
    port: int
    helper_ports: tuple[int, ...] = ()


def redirection_requests(redirection: Redirection) -> list[Request]:
    """PURE. One batch that makes table, chains and rules, all or nothing."""
    answers: list[Rule] = [("nftables rule with notrack", [*is_marked(ANSWER_MARK), *untracked()])]
    chains = [
        Chain("answers", OUTPUT, _PRIORITY_RAW, answers),
        Chain("capture", OUTPUT, _PRIORITY_NAT, _rules(redirection), kind="nat"),
    ]
    return new_table(redirection.family, "telepresence", chains)


def _rules(redirection: Redirection) -> list[Rule]:
    family, to_us = redirection.family, redirect_to(redirection.port)
    rules: list[Rule] = []
    for protocol in (TCP, UDP):
        foreign = [*is_foreign(family, redirection.pod_addresses), *is_protocol(protocol)]
        rules.append(("nftables rule with redirect", [*foreign, *to_us]))
        rules += [
            ("nftables rule with redirect for a helper", [*is_to(family, address, protocol, port), *to_us])
            for address in redirection.pod_addresses
            for port in redirection.helper_ports
        ]
    return rules


def open_redirected(family: int, port: int) -> list[tuple[str, socket.socket]]:
    """The sockets that redirection leads to, of the network namespace that we are in, named for `Inside`.
    OSError where conntrack cannot be asked."""
    where = "127.0.0.1" if family == socket.AF_INET else "::1"
    listener = socket.create_server((where, port), family=family, backlog=_BACKLOG)
    receiver = socket.socket(family, socket.SOCK_DGRAM)
    receiver.bind((where, port))
    raw = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
    raw.setsockopt(socket.SOL_SOCKET, _SO_MARK, ANSWER_MARK)
    wire = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, netlink_socket.NETFILTER)
    meant(wire, (where, port), (where, port))  # of a flow that is not there: only an error would tell of more
    sockets = {"tcp-redirected": listener, "udp-redirected": receiver, "raw": raw, "conntrack": wire}
    for each in sockets.values():
        each.setblocking(False)
    return list(sockets.items())


class RedirectedListener(socket.socket):
    """getsockname() of what it accepts is the address that the child meant; OSError where nobody knows it."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(fileno=descriptor)
        self.setblocking(False)

    def accept(self) -> tuple[socket.socket, Any]:
        accepted, peer = super().accept()
        return _Redirected(fileno=accepted.detach()), peer


class _Redirected(socket.socket):
    def getsockname(self) -> Any:
        if self.family == socket.AF_INET:
            known = self.getsockopt(socket.IPPROTO_IP, _SO_ORIGINAL_DST, 16)
            return socket.inet_ntop(self.family, known[4:8]), _port(known, 2)
        known = self.getsockopt(socket.IPPROTO_IPV6, _SO_ORIGINAL_DST, 28)
        return socket.inet_ntop(self.family, known[8:24]), _port(known, 2), 0, 0


class RedirectedReceiver(socket.socket):
    """recvmsg() tells the address that the child meant as ancillary data, as with IP_RECVORIGDSTADDR; and the
    child's own for the source. A datagram of which conntrack does not know comes without. Asks on `wire`, a
    socket of `open_redirected` that stays the caller's."""

    def __init__(self, descriptor: int, wire: socket.socket) -> None:
        super().__init__(fileno=descriptor)
        self.setblocking(False)
        self._wire = wire

    def recvmsg(self, *sizes: int) -> tuple[bytes, list[tuple[int, int, bytes]], int, Any]:
        data, _ancillary, flags, source = super().recvmsg(*sizes)
        found = meant(self._wire, source, self.getsockname())
        if found is None:
            return data, [], flags, source
        child, (address, port) = found
        packed = socket.inet_pton(self.family, address)
        sockaddr = struct.pack("=H", self.family) + struct.pack(">H", port)
        if self.family == socket.AF_INET:
            return data, [(socket.IPPROTO_IP, _IP_ORIGDSTADDR, sockaddr + packed + bytes(8))], flags, child
        ancillary = (socket.IPPROTO_IPV6, _IPV6_ORIGDSTADDR, sockaddr + bytes(4) + packed + bytes(4))
        return data, [ancillary], flags, child


_End = tuple[str, int]


def meant(wire: socket.socket, source: Any, own: Any) -> tuple[_End, _End] | None:
    """From where and to where the child sent what came to `own` from `source` by UDP; None when conntrack
    does not know. OSError when it does not answer. The kernel answers within send(2)."""
    wire.send(_question(source[:2], own[:2]))
    datagram = wire.recv(_ROOM)
    for kind, _sequence, start, end in messages(datagram):
        if kind == NLMSG_ERROR:
            number = -struct.unpack_from("=i", datagram, start)[0]
            if number == 2:  # ENOENT
                return None
            raise OSError(number, f"conntrack: {os.strerror(number)}")
        return _original(datagram[start + 4 : end])
    return None


def _question(source: _End, own: _End) -> bytes:
    """By the tuple of the answers: from us to where it came from."""
    family = socket.AF_INET6 if ":" in own[0] else socket.AF_INET
    first = 1 if family == socket.AF_INET else 3
    ends = (own, source)
    addresses = [attribute(first + i, socket.inet_pton(family, end[0])) for i, end in enumerate(ends)]
    ports = [attribute(_SOURCE_PORT + i, struct.pack(">H", end[1])) for i, end in enumerate(ends)]
    tuples = nested(_TUPLE_IP, *addresses), nested(_TUPLE_PROTOCOL, attribute(_NUMBER, bytes([UDP])), *ports)
    header = struct.pack("=BBH", protocol_family(family), 0, 0)
    return message(_GET, 0, header + nested(_TUPLE_REPLY, *tuples))


def _original(packed: bytes) -> tuple[_End, _End]:
    whole = attributes(attributes(packed)[_TUPLE_ORIGINAL])
    addresses, ports = attributes(whole[_TUPLE_IP]), attributes(whole[_TUPLE_PROTOCOL])
    family, first = (socket.AF_INET, 1) if 1 in addresses else (socket.AF_INET6, 3)
    source, destination = (socket.inet_ntop(family, addresses[first + i]) for i in (0, 1))
    return (source, _port(ports[_SOURCE_PORT])), (destination, _port(ports[_DESTINATION_PORT]))


def _port(packed: bytes, at: int = 0) -> int:
    return int(struct.unpack_from(">H", packed, at)[0])
