"""Connecting a socket that was born in the child's world."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import ip_address

from telepresence_py.forward.joining import reset_socket
from telepresence_py.forward.packets import Endpoint, endpoint_of

CONNECT_DEADLINE = 10.0
"""Seconds for the child's kernel to take a connection: its backlog may be full."""

# linux/in.h and linux/in6.h; Python names neither
_IP_BIND_ADDRESS_NO_PORT = 24
_IPV6_FREEBIND = 78


class SourceTaken(OSError):
    """A connection with these very ends is there already."""


def shown_client(client: Endpoint, target: Endpoint, pod_addresses: Iterable[str]) -> Endpoint | None:
    """PURE: where a connection to `target` shall seem to come from; None is where it comes from by itself.

    A container of the pod that called by loopback comes from loopback. A client that cannot be shown, being
    of the other family or of one link alone, comes from the pod: never from loopback, which some trust.
    """
    wanted = ip_address(target.address).version
    if client.address:  # else it was gone before anybody could ask
        address = ip_address(client.address)
        if address.is_loopback:
            return None
        if address.version == wanted and not address.is_link_local:
            return client
    return next((Endpoint(own, 0) for own in pod_addresses if ip_address(own).version == wanted), None)


def begin_connecting(connection: socket.socket, target: Endpoint, client: Endpoint | None = None) -> Endpoint:
    """Starts to connect, seemingly from `client` if there is one, and returns the socket's own end, which is
    known before anybody can accept it. SourceTaken when there is such a connection already."""
    connection.setblocking(False)
    if client is not None:
        _come_from(connection, client)
    error = connection.connect_ex(target)
    if error == errno.EADDRNOTAVAIL and client is not None:
        raise SourceTaken(error, "connect")
    if error not in {0, errno.EINPROGRESS}:
        raise OSError(error, "connect")
    return endpoint_of(connection.getsockname())


def _come_from(connection: socket.socket, client: Endpoint) -> None:
    """Binds a socket of the child's world, where every address is local; if the port cannot be had (the child
    may listen there), to the address alone, and if that cannot be had either, to nothing."""
    if connection.family == socket.AF_INET6:  # there a route is not enough: the address is on no interface
        connection.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
    if client.port:
        # for connections that have just ended, and lest the child be refused the port
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            connection.bind(client)
            return
    connection.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
    with suppress(OSError):
        connection.bind((client.address, 0))


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
