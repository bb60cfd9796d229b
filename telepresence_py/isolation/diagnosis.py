"""Asks the kernel how far a connection to the child has come: who owns the child's end of it, if anybody.

A connection that the kernel has completed and nobody accepted is an own socket already, with the ends of the
connection, but of no inode: no process has it. Orphans, closed by who had them, have none either; they are in
another state.
"""

from __future__ import annotations

import errno
import os
import socket

from telepresence_py import system
from telepresence_py.isolation.sock_diag import (
    ESTABLISHED,
    LISTENING,
    SYN_RECEIVED,
    SYN_SENT,
    Answers,
    End,
    SocketRow,
    connection_request,
    listeners_request,
    read_answers,
)
from telepresence_py.model.world import Reception

SOCK_DIAG = 4
"""NETLINK_SOCK_DIAG of <linux/netlink.h>."""

_NO_PORT = 0
_ROOM = 1 << 16


def open_wire() -> socket.socket | None:
    """The netlink socket that Diagnosis works on, of the network namespace that we are in; None where the
    kernel does not answer. Needs no right. There must be a listener of IPv4 in it, to ask for."""
    if not system.LINUX:
        return None
    try:
        wire = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, SOCK_DIAG)
    except OSError:
        return None
    try:
        if Diagnosis(wire).listeners():
            return wire
    except OSError:
        pass
    wire.close()
    return None


class Diagnosis:
    """On a socket of `open_wire`, which stays the caller's. The kernel answers within send(2), so nothing
    here waits; a question takes some 10 microseconds. OSError when it does not answer."""

    def __init__(self, wire: socket.socket) -> None:
        self._wire = wire

    def reception(self, child_end: End, our_end: End) -> Reception:
        """Of the connection that we made from `our_end`, both ends as our socket has them."""
        row = self._socket(child_end, our_end)
        if row is None:
            return Reception.NOBODY
        if row.state == LISTENING:
            return Reception.UNSEEN
        if row.state == SYN_RECEIVED:
            return self._before_the_queue(child_end, our_end)
        # a child's end that nobody owns, and which has not ended either, was never owned
        return Reception.QUEUED if row.state == ESTABLISHED and not row.inode else Reception.TAKEN

    def is_connecting(self, child_end: End, peer: End) -> bool:
        """Whether the child has a connection between these ends, its own first, that does not stand yet."""
        row = self._socket(child_end, peer)
        return row is not None and row.state == SYN_SENT

    def listeners(self) -> dict[int, frozenset[int]]:
        """Port -> a number for each socket that listens on it, never given to another socket."""
        found: dict[int, set[int]] = {}
        for family in (socket.AF_INET, socket.AF_INET6):
            for row in self._dump(listeners_request(family)):
                found.setdefault(row.port, set()).add(row.cookie)
        return {port: frozenset(cookies) for port, cookies in found.items()}

    def _before_the_queue(self, child_end: End, our_end: End) -> Reception:
        """The kernel completes a connection only with its first bytes if the listener wishes so, or once
        there is room for it; and if the listener is gone meanwhile, not at all."""
        listener = self._socket(child_end, (our_end[0], _NO_PORT))
        if listener is None or listener.state != LISTENING:
            return Reception.NOBODY
        return Reception.QUEUED if listener.queue > listener.queue_limit else Reception.DEFERRED

    def _socket(self, own: End, peer: End) -> SocketRow | None:
        self._wire.send(connection_request(own, peer))
        answers = self._receive()
        if answers.errno not in {0, errno.ENOENT}:
            raise OSError(answers.errno, f"sock_diag: {os.strerror(answers.errno)}")
        return answers.rows[0] if answers.rows else None

    def _dump(self, request: bytes) -> list[SocketRow]:
        self._wire.send(request)
        rows: list[SocketRow] = []
        while True:
            answers = self._receive()
            rows += answers.rows
            if answers.errno not in {0, errno.ENOENT}:  # that: the kernel does not know the family
                raise OSError(answers.errno, f"sock_diag: {os.strerror(answers.errno)}")
            if answers.is_last:
                return rows

    def _receive(self) -> Answers:
        return read_answers(self._wire.recv(_ROOM))
