"""The kernel's queue of first packets: opened and tried out inside, read and decided about outside."""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial

from telepresence_py.isolation import netlink_socket
from telepresence_py.isolation.diagnosis import SOCK_DIAG, Diagnosis
from telepresence_py.isolation.holding import QUEUE, REFUSED, Way, hold_requests, mark_of, release_requests
from telepresence_py.isolation.netlink import Request, answers, numbered
from telepresence_py.isolation.nfqueue import bind_requests, drop, let_go, read_packets
from telepresence_py.isolation.nftables import Capture
from telepresence_py.isolation.sock_diag import End, read_destroyed
from telepresence_py.model.world import HeldSyn

MOST_HELD = 16384
"""Packets that the kernel keeps for us, repetitions that we have not read yet among them."""

_RECEIVE_BUFFER = 8 << 20
"""Wanted bytes for packets not read yet; net.core.rmem_max bounds it. At its usual 208 KiB, 500 fit."""

_SOL_NETLINK = 270
_ADD_MEMBERSHIP = 1
_NO_ENOBUFS = 5
_DESTROYED_V4, _DESTROYED_V6 = 1, 3
_PROBED_PORT = 9
_PROBE_SECONDS = 2.0
_ROOM = 1 << 16
_AT_ONCE = 256


class QueueRefused(Exception):
    """The kernel cannot hold first packets; the message is a clause with its reason."""


def open_queue(captures: Sequence[Capture]) -> list[tuple[str, socket.socket]]:
    """The sockets that SynQueue works on, named, of the network namespace that we are in; in it the first
    packets of what is captured are held from now on. QueueRefused, and nothing is changed, where this fails.

    To be called while the namespace is empty and all else in it is made: each family is tried out with a
    connection to a port of loopback where nobody listens.
    """

    def refuse(wire: socket.socket) -> None:
        for syn in read_packets(wire.recv(_ROOM)):
            wire.send(let_go(QUEUE, syn.packet, REFUSED))

    wire = open_held(captures, bind_requests(QUEUE, MOST_HELD), _install, lambda wire, _family: refuse(wire))
    return [("held", wire), *open_destroyed()]


def open_held(
    captures: Sequence[Capture],
    requests: Sequence[Request],
    install: Callable[[Capture], None],
    refuse: Callable[[socket.socket, int], None],
) -> socket.socket:
    """The socket that asked the kernel for the packets. `install` makes the rules of one family, and
    `refuse(socket, family)` refuses the packets that have come. QueueRefused as in `open_queue`."""
    wire = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, netlink_socket.NETFILTER)
    made: list[Capture] = []
    try:
        _bind(wire, requests)
        for capture in captures:
            install(capture)
            made.append(capture)
            _try_out(partial(refuse, wire, capture.family), capture.family)
    except OSError as error:
        wire.close()
        for capture in made:
            netlink_socket.exchange(netlink_socket.NETFILTER, release_requests(capture.family))
        raise QueueRefused(error.strerror or str(error)) from error
    return wire


def _bind(wire: socket.socket, requests: Sequence[Request]) -> None:
    wire.settimeout(_PROBE_SECONDS)
    wire.bind((0, 0))
    for request in requests:
        wire.send(numbered([request]))
        for _sequence, refusal in answers(wire.recv(_ROOM)):
            if refusal:
                raise OSError(refusal, f"{request.what}: {os.strerror(refusal)}")
    # a packet that finds no room is dropped and repeated, which we need not be told
    wire.setsockopt(_SOL_NETLINK, _NO_ENOBUFS, 1)


def _install(capture: Capture) -> None:
    try:
        netlink_socket.exchange(netlink_socket.NETFILTER, hold_requests(capture, Way.QUEUE))
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
        netlink_socket.exchange(netlink_socket.NETFILTER, hold_requests(capture, Way.QUEUE_OF_XTABLES))


def _try_out(refuse: Callable[[], None], family: int) -> None:
    """A connection is held, refused, and knows it; OSError else. Without a loopback in the family there is
    nothing that could be held."""
    to = ("::1" if family == socket.AF_INET6 else "127.0.0.1", _PROBED_PORT)
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as child:
        failed = child.connect_ex(to)
        if failed in {errno.EADDRNOTAVAIL, errno.ENETUNREACH}:
            return
        if failed != errno.EINPROGRESS:
            raise OSError(failed, f"a connection that is tried out is not held: {os.strerror(failed)}")
        refuse()
        poll = select.poll()
        poll.register(child, select.POLLOUT)
        poll.poll(_PROBE_SECONDS * 1000)
        ended = child.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if ended != errno.ECONNREFUSED:
        raise OSError(ended, f"a connection that is tried out is not refused: {os.strerror(ended)}")


def open_destroyed() -> list[tuple[str, socket.socket]]:
    """One that hears of every TCP socket that is gone. None where the kernel does not tell."""
    wire = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, SOCK_DIAG)
    try:
        wire.bind((0, 0))
        for group in (_DESTROYED_V4, _DESTROYED_V6):
            wire.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
        wire.setsockopt(_SOL_NETLINK, _NO_ENOBUFS, 1)
    except OSError:
        wire.close()
        return []
    return [("destroyed", wire)]


class SynQueue:
    """On the sockets of `open_queue`, in their order, which stay the caller's. Nothing here waits.

    `descriptors` are readable when there is something to `receive`. Each packet wants one verdict: `let_go`,
    `refuse` or `drop`; until then the child's connect() goes on, and the kernel repeats the packet.
    """

    def __init__(self, sockets: Sequence[socket.socket], diagnosis: Diagnosis | None) -> None:
        self._held, *rest = sockets
        self._destroyed = rest[0] if rest else None
        self._diagnosis = diagnosis
        self.descriptors = tuple(each.fileno() for each in sockets)
        for each in sockets:
            _widen(each)

    def receive(self) -> tuple[list[HeldSyn], list[tuple[End, End]]]:
        """What has come since the last call, or a part of it, which leaves a descriptor readable: packets,
        and the ends (own, peer) of sockets that are gone. Those were opened before these packets, or by them.
        """
        # the queue last: a socket that is gone by now has sent its packet before
        gone = [] if self._destroyed is None else _datagrams(self._destroyed)
        syns = [syn for datagram in _datagrams(self._held) for syn in self._read(datagram)]
        return syns, [ends for datagram in gone for ends in read_destroyed(datagram)]

    def is_connecting(self, syn: HeldSyn) -> bool:
        """Whether the child still, or again, waits for a connection with these ends."""
        try:
            return self._diagnosis is not None and self._diagnosis.is_connecting(syn.child, syn.destination)
        except OSError:
            return False

    def let_go(self, syn: HeldSyn) -> None:
        """It goes on to the listener for which it was captured."""
        self._pass(syn, None)

    def refuse(self, syn: HeldSyn, error: int) -> None:
        """connect() fails with that errno, or the nearest that a network can cause; ETIMEDOUT is `drop`."""
        self._pass(syn, mark_of(error))

    def drop(self, syn: HeldSyn) -> None:
        self._say(drop(QUEUE, syn.packet))

    # --- how the kernel is talked to ---------------------------------------------------------------------

    def _read(self, datagram: bytes) -> Iterator[HeldSyn]:
        return read_packets(datagram)

    def _pass(self, syn: HeldSyn, mark: int | None) -> None:
        self._say(let_go(QUEUE, syn.packet, mark))

    def _say(self, verdict: bytes) -> None:
        # the kernel acts within send(2); what it does not know any more needs no verdict
        with suppress(OSError):
            self._held.send(verdict)


def _widen(wire: socket.socket) -> None:
    """SO_RCVBUFFORCE, which Python has no name for, is root's; the other stops at the machine's limit."""
    for option in (33, socket.SO_RCVBUF):
        with suppress(OSError):
            wire.setsockopt(socket.SOL_SOCKET, option, _RECEIVE_BUFFER)
            return


def _datagrams(wire: socket.socket) -> list[bytes]:
    found: list[bytes] = []
    with suppress(OSError):
        while len(found) < _AT_ONCE:
            found.append(wire.recv(_ROOM))
    return found
