"""A flow of datagrams from the laptop's own network, for destinations that a rule keeps there."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable

from telepresence_py.forward.packets import Endpoint
from telepresence_py.system import udp_socket
from telepresence_py.tunnel.interface import DatagramFlow

log = logging.getLogger(__name__)

_AT_ONCE = 64
"""Answers taken from one socket before others get their turn."""


def open_laptop_flow(
    destination: Endpoint, on_datagram: Callable[[bytes], None], on_refused: Callable[[], None]
) -> DatagramFlow:
    """A connected socket of the laptop's; OSError when it cannot be. Ends by `close` alone, or when the
    destination says that nobody is there, which `on_refused` is called for, once. Needs an asyncio loop."""
    family = socket.AF_INET6 if ":" in destination.address else socket.AF_INET
    made = udp_socket(family)
    try:
        made.connect(destination)
    except BaseException:
        made.close()
        raise
    return _LaptopFlow(made, on_datagram, on_refused)


class _LaptopFlow:
    def __init__(
        self, connected: socket.socket, on_datagram: Callable[[bytes], None], on_refused: Callable[[], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = connected
        self._on_datagram = on_datagram
        self._on_refused = on_refused
        self._loop.add_reader(connected, self._readable)

    def send(self, datagram: bytes) -> None:
        if self._is_open:
            try:
                self._socket.send(datagram)
            except OSError as error:
                self._failed(error)

    def close(self) -> None:
        if self._is_open:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    @property
    def _is_open(self) -> bool:
        return self._socket.fileno() >= 0

    def _readable(self) -> None:
        for _ in range(_AT_ONCE):
            if not self._is_open:
                return
            try:
                datagram = self._socket.recv(65536)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self._failed(error)
            else:
                self._on_datagram(datagram)

    def _failed(self, error: OSError) -> None:
        """An error of an earlier datagram, or of this one, which may be lost."""
        log.debug("a datagram from the laptop: %s", error)
        if error.errno == errno.ECONNREFUSED:
            self.close()
            self._on_refused()
