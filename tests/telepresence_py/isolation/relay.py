"""A relay that relays nothing: it tells each connection and datagram where it was meant to go."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress

import trio

from telepresence_py.isolation.inside import Inside

_ORIGINAL_DESTINATION = {(socket.IPPROTO_IP, 20), (socket.IPPROTO_IPV6, 74)}


async def tell_destinations(
    inside: Inside, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """A connection is told `KIND ADDRESS PORT` and closed; a datagram likewise, by one from that address."""
    async with trio.open_nursery() as nursery:
        for listener in inside.tcp_listeners:
            nursery.start_soon(_accept, "captured", listener)
        for listener in inside.loopback_listeners:
            nursery.start_soon(_accept, "loopback", listener)
        for receiver in inside.udp_sockets:
            nursery.start_soon(_answer_datagrams, receiver, inside.raw_sockets[receiver.family])
        task_status.started()


async def _accept(kind: str, listener: socket.socket) -> None:
    while True:
        await trio.lowlevel.wait_readable(listener)
        with suppress(BlockingIOError):
            connection, peer = listener.accept()
            with connection:
                address, port = connection.getsockname()[:2]
                connection.send(f"{kind} {address} {port} {peer[0]}".encode())


async def _answer_datagrams(receiver: socket.socket, raw: socket.socket) -> None:
    while True:
        await trio.lowlevel.wait_readable(receiver)
        data, ancillary, _flags, source = receiver.recvmsg(1 << 16, 256)
        (meant,) = (value for level, kind, value in ancillary if (level, kind) in _ORIGINAL_DESTINATION)
        (port,) = struct.unpack_from(">H", meant, 2)
        packed = meant[4:8] if receiver.family == socket.AF_INET else meant[8:24]
        address = socket.inet_ntop(receiver.family, packed)
        answer = f"captured {address} {port} {source[0]} {data.decode()}".encode()
        raw.sendto(_packet(packed, port, source, answer), (source[0], 0))


def _packet(from_packed: bytes, from_port: int, to: tuple[str, int], payload: bytes) -> bytes:
    length = 8 + len(payload)
    ports = struct.pack(">HHH", from_port, to[1], length)
    if len(from_packed) == 4:
        addresses = from_packed + socket.inet_pton(socket.AF_INET, to[0])
        header = struct.pack(">BBHHHBBH", 0x45, 0, 0, 0, 0, 64, socket.IPPROTO_UDP, 0)
        return header + addresses + ports + bytes(2) + payload
    addresses = from_packed + socket.inet_pton(socket.AF_INET6, to[0])
    summed = addresses + struct.pack(">II", length, socket.IPPROTO_UDP) + ports + bytes(2) + payload
    words = struct.unpack(f">{(len(summed) + 1) // 2}H", summed + bytes(len(summed) % 2))
    checksum = ~(sum(words) % 0xFFFF) & 0xFFFF or 0xFFFF
    header = struct.pack(">IHBB", 6 << 28, length, socket.IPPROTO_UDP, 64)
    return header + addresses + ports + struct.pack(">H", checksum) + payload
