"""Where a session and an agent meet that could inherit nothing of it: a socket in a directory that is the
session's alone. Each makes sure that the other one is of the same user.
"""

from __future__ import annotations

import os
import socket
import struct

_CREDENTIALS = struct.Struct("3i")


def meeting_place(path: str) -> socket.socket:
    """The session's: a listener, non-blocking, for one agent."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        listener.bind(path)
        listener.listen(1)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def pid_of_peer(connection: socket.socket) -> int:
    """As this process sees it, 0 where it does not; PermissionError if it is another user's."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _gid = _CREDENTIALS.unpack(data)
    if uid != os.getuid():
        raise PermissionError(f"user {uid} is at the other end")
    return int(pid)


def hand_control(connection: socket.socket, control: socket.socket) -> None:
    """The session's: give the agent its end of the socket on which they talk."""
    socket.send_fds(connection, [b"control"], [control.fileno()])


def fetch_control(path: str) -> socket.socket:
    """The agent's: its end, once the session hands it over; EOFError when the session ended before."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(path)
        pid_of_peer(connection)
        _data, descriptors, _flags, _address = socket.recv_fds(connection, 16, 1)
    if not descriptors:
        raise EOFError("the session has ended")
    return socket.socket(fileno=descriptors[0])
