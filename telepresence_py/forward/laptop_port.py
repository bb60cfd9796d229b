"""One port of the laptop's loopback: taken, listened on for as long as somebody answers, given back."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

from telepresence_py.forward.accepting import Accepting

_LOOPBACK = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
_NO_SUCH_FAMILY = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})
_BACKLOG = 1024


class LaptopPort:
    """Taken, at 127.0.0.1 and, where the laptop has it, ::1, from when it is made until `close`; never at any
    other address. OSError (EADDRINUSE, EACCES) when it cannot be had.

    Connections are refused by the kernel until `listen` and after `rest`.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._sockets = _bound(number)
        self._accepting: Accepting | None = None

    def listen(self, on_connection: Callable[[socket.socket], None]) -> None:
        """Connections are `on_connection`'s from now on, non-blocking. OSError when somebody else was quicker
        to listen here. To be called where an asyncio loop runs."""
        try:
            for each in self._sockets:
                each.listen(_BACKLOG)
        except OSError:
            self.rest()
            raise
        self._accepting = Accepting(self._sockets, on_connection)

    def rest(self) -> None:
        """Nobody answers for now; the port stays taken."""
        if self._accepting is not None:
            self._accepting.close()
            self._accepting = None
        for each in self._sockets:
            if each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                each.shutdown(socket.SHUT_RDWR)  # of a listener that is its end, but it stays bound

    def close(self) -> None:
        self.rest()
        for each in self._sockets:
            each.close()


def _bound(port: int) -> list[socket.socket]:
    made: list[socket.socket] = []
    try:
        for family, address in _LOOPBACK:
            try:
                made.append(_bind(family, address, port))
            except OSError as error:
                if not made or error.errno not in _NO_SUCH_FAMILY:
                    raise
    except OSError:
        for each in made:
            each.close()
        raise
    return made


def _bind(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # connections of a session before this one may linger (TIME_WAIT)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((address, port))
    except OSError:
        bound.close()
        raise
    return bound
