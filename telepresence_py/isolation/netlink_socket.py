"""Sends netlink requests to the kernel of the network namespace that we are in, and waits for its word."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

from telepresence_py.isolation.netlink import Request, answers, numbered

ROUTE = 0
NETFILTER = 12

_ANSWER_SECONDS = 10.0


def exchange(protocol: int, requests: Sequence[Request]) -> None:
    """Send all requests in one datagram. OSError, naming the request, for the first that is refused."""
    awaited = {number for number, request in enumerate(requests) if request.is_answered}
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as wire:
        wire.settimeout(_ANSWER_SECONDS)
        wire.bind((0, 0))
        wire.send(numbered(requests))
        while awaited:
            for sequence, errno in answers(wire.recv(1 << 16)):
                if errno:
                    raise OSError(errno, f"{requests[sequence].what}: {os.strerror(errno)}")
                awaited.discard(sequence)
