"""Listening on every address of the pod, or on its loopback alone, whatever families it has."""

from __future__ import annotations

import errno
import socket

BACKLOG = 1024

IP_PKTINFO = 8  # ip(7); Python has no name for it

_NO_IPV6 = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})


def listen_everywhere(port: int) -> socket.socket:
    """A TCP socket that listens on `port` over IPv6 and IPv4, or over IPv4 where the kernel has no IPv6.
    OSError (EADDRINUSE, EACCES) when the port cannot be had. The caller closes it."""
    try:
        return _listen(socket.AF_INET6, "::", port)
    except OSError as error:
        if error.errno not in _NO_IPV6:
            raise
        return _listen(socket.AF_INET, "0.0.0.0", port)


def listen_on_loopback(port: int) -> list[socket.socket]:
    """TCP sockets that listen on `port` of 127.0.0.1 and, where the pod has it, ::1. OSError as above."""
    listeners = [_listen(socket.AF_INET, "127.0.0.1", port)]
    try:
        listeners.append(_listen(socket.AF_INET6, "::1", port))
    except OSError as error:
        if error.errno not in _NO_IPV6:
            listeners[0].close()
            raise
    return listeners


def bind_datagrams(port: int) -> socket.socket:
    """A UDP socket on `port`, over both families as `listen_everywhere`, that tells of each datagram to which
    address it was sent (IP_PKTINFO, IPV6_PKTINFO). Non-blocking; OSError when the port cannot be had."""
    try:
        return _bind_datagrams(socket.AF_INET6, "::", port)
    except OSError as error:
        if error.errno not in _NO_IPV6:
            raise
        return _bind_datagrams(socket.AF_INET, "0.0.0.0", port)


def _bind_datagrams(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            bound.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        bound.bind((address, port))
    except OSError:
        bound.close()
        raise
    return bound


def _listen(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    listener = socket.socket(
        family, socket.SOCK_STREAM, socket.IPPROTO_TCP
    )  # else asyncio sets no TCP_NODELAY
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((address, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def plain_address(address: str) -> str:
    """An IPv4 address that an IPv6 socket shows as ::ffff:a.b.c.d (RFC 4291, 2.5.5.2), as IPv4."""
    return address.removeprefix("::ffff:") if "." in address else address


def errno_of(error: OSError) -> int:
    """The errno to pass on for a failed connect; resolvers and combined errors have none of their own."""
    if isinstance(error, socket.gaierror):
        return errno.EHOSTUNREACH
    return error.errno or errno.ECONNREFUSED
