"""Connecting a socket that was born in the child's world."""

from __future__ import annotations

import asyncio
import errno
import socket

from telepresence_py.forward.joining import reset_socket
from telepresence_py.forward.packets import Endpoint, endpoint_of

CONNECT_DEADLINE = 10.0
"""Seconds for the child's kernel to take a connection: its backlog may be full."""


def begin_connecting(connection: socket.socket, target: Endpoint) -> Endpoint:
    """Starts to connect and returns the socket's own end, which is known before anybody can accept it."""
    connection.setblocking(False)
    error = connection.connect_ex(target)
    if error not in {0, errno.EINPROGRESS}:
        raise OSError(error, "connect")
    return endpoint_of(connection.getsockname())


async def wait_connected(connection: socket.socket) -> None:
    """Takes over the socket if it fails."""
    try:
        if not _is_connected(connection):
            await _wait_writable(connection)
        error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, "connect")
    except BaseException:
        reset_socket(connection)
        raise


def _is_connected(connection: socket.socket) -> bool:
    """Within one host it mostly is by the time that connect(2) returns, EINPROGRESS or not."""
    try:
        connection.getpeername()
    except OSError:
        return False
    return True


async def _wait_writable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    writable = asyncio.Event()
    loop.add_writer(connection, writable.set)
    try:
        async with asyncio.timeout(CONNECT_DEADLINE):
            await writable.wait()
    finally:
        loop.remove_writer(connection)
