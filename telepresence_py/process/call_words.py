"""PURE. Which calls of a child on the laptop's network are looked at, and what becomes of each: by what its
socket is and where it wants to go. For `answering`, which does it.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address

from telepresence_py.process.seccomp import (
    ALLOW,
    ASK,
    IO_URING_SETUP,
    Machine,
    Step,
    answer,
    refuse,
    when_architecture,
    when_argument_is_null,
    when_number,
    when_number_from,
)

DNS_PORT = 53
MOST_ADDRESS_BYTES = 128
_X32 = 0x4000_0000
"""From here on numbers are those of x86_64's third kind of programs; elsewhere there are none so high."""

_MPTCP = 262
_REPLIES = {3: errno.ENETUNREACH, 4: errno.EHOSTUNREACH, 5: errno.ECONNREFUSED, 6: errno.ETIMEDOUT}

SOCKS_ANSWER_BYTES = 2 + 2 + 10
"""Of the method, of the password, and of the request, with an address of IPv4."""


@dataclass(frozen=True)
class Doors:
    """Ports of the session's on loopback, each by family ("4", "6"): `truthful` is a proxy that answers once
    the far side has, `fast` one that answers at once, both with `secret`; `names` answers queries by UDP.

    What the child asks of the `laptop_servers` is asked of the pod's, of which `pod_server` is one.
    `families` are those that the pod has. No socket below the `hidden` directories is there for the child.
    """

    secret: str
    truthful: Mapping[str, int]
    fast: Mapping[str, int]
    names: Mapping[str, int]
    pod_server: str = ""
    laptop_servers: Sequence[str] = ()
    families: Sequence[str] = field(default=("4", "6"))
    hidden: Sequence[str] = ()

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, data: bytes) -> Doors:
        return cls(**json.loads(data))


class Kind(Enum):
    STREAM = "TCP"
    DATAGRAM = "UDP"
    OTHER = "something else"


def kind_of(made: socket.socket) -> Kind:
    if made.type == socket.SOCK_STREAM and made.proto in (socket.IPPROTO_TCP, _MPTCP):
        return Kind.STREAM
    is_udp = made.type == socket.SOCK_DGRAM and made.proto == socket.IPPROTO_UDP
    return Kind.DATAGRAM if is_udp else Kind.OTHER


@dataclass(frozen=True)
class Address:
    """Of IPv4 or IPv6, an IPv4 one also where it is written as one of IPv6."""

    ip: IPv4Address | IPv6Address
    port: int

    @property
    def family(self) -> str:
        return str(self.ip.version)

    @property
    def is_laptops(self) -> bool:
        """To connect to no address in particular is to connect to loopback."""
        return self.ip.is_loopback or self.ip.is_unspecified


def read_address(packed: bytes) -> Address | str | None:
    """A sockaddr: an Address, the path of a Unix socket, or None for all else."""
    if len(packed) < 2:
        return None
    family = struct.unpack_from("=H", packed)[0]
    if family == socket.AF_UNIX:
        return os.fsdecode(packed[2:].split(b"\0")[0]) or None
    if family == socket.AF_INET and len(packed) >= 8:
        return Address(IPv4Address(packed[4:8]), struct.unpack_from(">H", packed, 2)[0])
    if family == socket.AF_INET6 and len(packed) >= 24:
        ip = IPv6Address(packed[8:24])
        return Address(ip.ipv4_mapped or ip, struct.unpack_from(">H", packed, 2)[0])
    return None


@dataclass(frozen=True)
class GoOn:
    """The kernel does what was asked for."""


@dataclass(frozen=True)
class Fail:
    errno: int


@dataclass(frozen=True)
class ToPod:
    """Connected to a proxy, which is asked for that host and port."""

    host: str
    port: int


@dataclass(frozen=True)
class ToNames:
    """Connected to who answers queries."""


Verdict = GoOn | Fail | ToPod | ToNames


def on_connect(where: Address | str | None, kind: Kind, doors: Doors) -> Verdict:
    """What becomes of connect() of a socket of that kind (of no meaning for paths)."""
    if isinstance(where, str):
        path = os.path.normpath(where.replace("/var/run/", "/run/", 1))
        below = any(path.startswith(f"{directory}/") for directory in doors.hidden)
        return Fail(errno.ECONNREFUSED) if below else GoOn()
    if where is None:
        return GoOn()
    asks_laptop = where.port == DNS_PORT and str(where.ip) in doors.laptop_servers
    if kind is Kind.DATAGRAM and (asks_laptop or (str(where.ip), where.port) == (doors.pod_server, DNS_PORT)):
        return ToNames()
    if kind is Kind.STREAM and asks_laptop and doors.pod_server:
        return ToPod(doors.pod_server, DNS_PORT)
    if where.is_laptops:
        return GoOn()
    if kind is not Kind.STREAM or where.family not in doors.families:
        return Fail(errno.ENETUNREACH)
    return ToPod(str(where.ip), where.port)


def on_send(where: Address | str | None, kind: Kind, is_first: bool, doors: Doors) -> Verdict:
    """What becomes of a message with an address; of TCP it means something if it `is_first`, with the
    request to connect (MSG_FASTOPEN)."""
    if not isinstance(where, Address) or (kind is Kind.STREAM and not is_first):
        return GoOn()
    if kind is Kind.STREAM:
        return GoOn() if where.is_laptops else Fail(errno.EOPNOTSUPP)
    asks_laptop = where.port == DNS_PORT and str(where.ip) in doors.laptop_servers
    return GoOn() if where.is_laptops and not asks_laptop else Fail(errno.ENETUNREACH)


def child_filter(calls: Machine) -> list[Step]:
    """All calls pass but those that may lead somewhere; what would go past them is not there: io_uring, and
    sockets of 32-bit programs."""
    unknown = answer(refuse(errno.ENOSYS))
    looked_at = [
        *when_number(calls.sendto, [*when_argument_is_null(4, answer(ALLOW)), *answer(ASK)]),
        *(
            step
            for each in (calls.connect, calls.sendmsg, calls.sendmmsg)
            for step in when_number(each, answer(ASK))
        ),
        *when_number(IO_URING_SETUP, unknown),
    ]
    others = when_number_from(_X32, unknown)
    no_family = answer(refuse(errno.EAFNOSUPPORT))
    compat = [step for number in calls.compat_sockets for step in when_number(number, no_family)]
    return [
        *when_architecture(calls.audit, [*others, *looked_at, *answer(ALLOW)]),
        *when_architecture(calls.compat_audit, [*compat, *answer(ALLOW)]),
        *answer(ALLOW),
    ]


def socks_request(host: str, port: int, secret: str) -> bytes:
    """RFC 1928 and RFC 1929 in one: what answers has no choice to offer."""
    ip = ip_address(host)
    password = secret.encode()
    hello = b"\x05\x01\x02" + b"\x01\x01c" + bytes([len(password)]) + password
    return (
        hello
        + b"\x05\x01\x00"
        + (b"\x01" if ip.version == 4 else b"\x04")
        + ip.packed
        + struct.pack(">H", port)
    )


def socks_errno(answered: bytes) -> int:
    """Of SOCKS_ANSWER_BYTES, or fewer where the other side ended; 0 is success."""
    if len(answered) < SOCKS_ANSWER_BYTES:
        return errno.ECONNREFUSED if len(answered) < 6 else _REPLIES.get(answered[5], errno.EHOSTUNREACH)
    return 0 if answered[5] == 0 else _REPLIES.get(answered[5], errno.EHOSTUNREACH)
