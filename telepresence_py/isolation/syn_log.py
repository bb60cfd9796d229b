"""Where the kernel has no queue of first packets: it logs and drops them, and we send them again.

What is sent again carries a mark, by which the rules of `holding` let it go on, or refuse it as they refuse
what was queued.
"""

from __future__ import annotations

import itertools
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from telepresence_py.isolation import netlink_socket
from telepresence_py.isolation.diagnosis import Diagnosis
from telepresence_py.isolation.holding import LET_GO, QUEUE, REFUSED, Way, hold_requests
from telepresence_py.isolation.nflog import bind_requests, read_logged, with_checksum
from telepresence_py.isolation.nfqueue import parse_syn
from telepresence_py.isolation.nftables import Capture
from telepresence_py.isolation.syn_queue import SynQueue, open_destroyed, open_held
from telepresence_py.model.world import HeldSyn

_SO_MARK = 36
_ROOM = 1 << 17


def open_log(captures: Sequence[Capture]) -> list[tuple[str, socket.socket]]:
    """As `open_queue`, for SynLog. QueueRefused, and nothing is changed, where this fails."""
    again = {capture.family: _raw(capture.family) for capture in captures}

    def refuse(wire: socket.socket, family: int) -> None:
        for packet in read_logged(wire.recv(_ROOM)):
            _send(again[family], packet, REFUSED)

    try:
        wire = open_held(captures, bind_requests(QUEUE), _install, refuse)
    except BaseException:
        for each in again.values():
            each.close()
        raise
    return [("logged", wire), *(("again", each) for each in again.values()), *open_destroyed()]


class SynLog(SynQueue):
    """As SynQueue, on the sockets of `open_log`; those `again` by their family."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        again: Mapping[int, socket.socket],
        diagnosis: Diagnosis | None,
    ) -> None:
        super().__init__(sockets, diagnosis)
        self._again = again
        self._numbers = itertools.count(1)
        self._kept: dict[int, bytes] = {}

    def drop(self, syn: HeldSyn) -> None:
        """It was dropped when it was logged."""
        self._kept.pop(syn.packet, None)

    def _read(self, datagram: bytes) -> Iterator[HeldSyn]:
        for packet in read_logged(datagram):
            syn = parse_syn(next(self._numbers), packet)
            if syn is not None:
                self._kept[syn.packet] = packet
                yield syn

    def _pass(self, syn: HeldSyn, mark: int | None) -> None:
        packet = self._kept.pop(syn.packet, None)
        if packet is not None:
            with suppress(OSError):  # as a packet that is lost: it comes again
                _send(self._again[_family(packet)], packet, LET_GO if mark is None else mark)


def _install(capture: Capture) -> None:
    netlink_socket.exchange(netlink_socket.NETFILTER, hold_requests(capture, Way.LOG))


def _raw(family: int) -> socket.socket:
    """What is written to it is a whole packet, header and all (raw(7))."""
    return socket.socket(family, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW)


def _family(packet: bytes) -> int:
    return socket.AF_INET if packet[0] >> 4 == 4 else socket.AF_INET6


def _send(wire: socket.socket, packet: bytes, mark: int) -> None:
    is_v4 = _family(packet) == socket.AF_INET
    to = socket.inet_ntop(wire.family, packet[16:20] if is_v4 else packet[24:40])
    marked = [(socket.SOL_SOCKET, _SO_MARK, struct.pack("=I", mark))]
    wire.sendmsg([with_checksum(packet)], marked, 0, (to, 0))
