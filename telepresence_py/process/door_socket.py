"""The door's socket on the CLI's side: whole messages in and out, descriptors beside them. Synchronous."""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from telepresence_py.model.door import FromCli, FromSession, Lines, StartChild, decode_from_session, encode

_CHUNK = 1 << 16
_MOST_DESCRIPTORS = 16


@dataclass(frozen=True)
class Arrival:
    """A message and the descriptors that came with it; whoever takes it closes them."""

    message: FromSession
    descriptors: tuple[int, ...] = ()


class DoorSocket:
    """Owns `sock`; closed by `close`, together with descriptors that nobody took."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lines = Lines()
        self._descriptors: deque[int] = deque()

    def fileno(self) -> int:
        return self._sock.fileno()

    def send(self, message: FromCli) -> bool:
        """False when the session process is gone; the caller then finds the reason by `receive`."""
        try:
            self._sock.sendall(encode(message))
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def receive(self) -> list[Arrival] | None:
        """What came, at least one chunk of it: blocks if nothing is there. None at end of file.

        Raises model.door.DoorError.
        """
        try:
            data, descriptors, _flags, _address = socket.recv_fds(self._sock, _CHUNK, _MOST_DESCRIPTORS)
        except ConnectionResetError:
            return None
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        self._descriptors.extend(descriptors)
        if not data:
            return None
        return [self._arrival(line) for line in self._lines.feed(data)]

    def close(self) -> None:
        self._sock.close()
        while self._descriptors:
            os.close(self._descriptors.popleft())

    def _arrival(self, line: bytes) -> Arrival:
        message = decode_from_session(line)
        # a descriptor arrives with the first byte of its line, thus never after the line is whole
        wanted = len(message.namespaces) if isinstance(message, StartChild) else 0
        return Arrival(message, tuple(self._descriptors.popleft() for _ in range(wanted)))


def send_with_descriptors(sock: socket.socket, line: bytes, descriptors: Sequence[int]) -> None:
    """Send an encoded message and its descriptors on a blocking socket; whoever calls closes them."""
    sent = socket.send_fds(sock, [line], list(descriptors)) if descriptors else 0
    sock.sendall(line[sent:])
