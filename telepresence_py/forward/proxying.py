"""The proxy that a child without a network of its own is told of by variables: SOCKS5 and HTTP on one port.

Its connections are opened from inside the pod, where names are resolved, too. Clients are told what became of
them, as connect() would.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from ipaddress import ip_address

from telepresence_py.forward.accepting import Accepting
from telepresence_py.forward.choosing import ChooseTunnel, next_tunnel
from telepresence_py.forward.dialling import LAPTOP_DEADLINE, connect_from_laptop
from telepresence_py.forward.joining import Joints, reset_socket
from telepresence_py.forward.packets import Endpoint
from telepresence_py.forward.proxy_words import Asking, Refused, Request

log = logging.getLogger(__name__)

ASKING_SECONDS = 30.0
"""So long may a client take to say what it wants."""

_ROOM = 16 << 10


@asynccontextmanager
async def serve_proxy(
    listeners: Iterable[socket.socket], secret: str, choose_tunnel: ChooseTunnel, fast: bool = False
) -> AsyncIterator[Joints]:
    """Serves until the block ends, which resets every connection. Yields them, for counting.

    The listeners stay the caller's. Who does not know the `secret` is refused. With `fast` success is told
    before the far side has answered. What is asked for on loopback is the laptop's, as it is for the child.
    Works within an asyncio loop, and under trio as its guest.
    """
    joints = Joints()
    proxy = _Proxy(joints, secret, choose_tunnel, fast)
    accepting = Accepting(listeners, lambda connection: joints.start(proxy.serve(connection)))
    try:
        yield joints
    finally:
        accepting.close()
        joints.abort()


class _Proxy:
    def __init__(self, joints: Joints, secret: str, choose_tunnel: ChooseTunnel, fast: bool) -> None:
        self._joints = joints
        self._secret = secret
        self._choose_tunnel = choose_tunnel
        self._fast = fast
        self._loop = asyncio.get_running_loop()

    async def serve(self, connection: socket.socket) -> None:
        """Takes over the connection."""
        try:
            async with asyncio.timeout(ASKING_SECONDS):
                request = await self._asked(connection)
        except Refused as refused:
            await self._say_last(connection, refused.answer)
            return
        except BaseException:
            reset_socket(connection)
            raise
        if _is_laptops(request.host):
            await self._to_laptop(connection, request)
        else:
            await self._to_pod(connection, request)

    async def _asked(self, connection: socket.socket) -> Request:
        asking = Asking(self._secret)
        while asking.request is None:
            data = await self._loop.sock_recv(connection, _ROOM)
            if not data:
                raise ConnectionResetError(errno.ECONNRESET, "the client left before it had asked")
            answer = asking.feed(data)
            await self._loop.sock_sendall(connection, answer)
        return asking.request

    async def _to_pod(self, connection: socket.socket, request: Request) -> None:
        try:
            tunnel = self._choose_tunnel() or await next_tunnel(self._choose_tunnel)
            stream = tunnel.open(request.host, request.port)
        except OSError as error:
            await self._say_last(connection, request.answer(error.errno or errno.ENETDOWN))
            return
        except BaseException:
            reset_socket(connection)
            raise
        try:
            # what the client has sent already goes along with the request to connect
            stream.write(request.first)
            error_number = 0 if self._fast else await stream.opened
            if error_number == 0:
                await self._loop.sock_sendall(connection, request.answer(0))
        except BaseException:
            stream.abort(errno.ECONNABORTED)
            reset_socket(connection)
            raise
        if error_number:
            await self._say_last(connection, request.answer(error_number))
        else:
            await self._joints.to_stream(connection, stream)

    async def _to_laptop(self, connection: socket.socket, request: Request) -> None:
        address = "127.0.0.1" if request.host.lower() == "localhost" else request.host
        try:
            dialled = await connect_from_laptop(Endpoint(address, request.port), LAPTOP_DEADLINE)
        except OSError as error:
            await self._say_last(connection, request.answer(error.errno or errno.ETIMEDOUT))
            return
        except BaseException:
            reset_socket(connection)
            raise
        try:
            await self._loop.sock_sendall(connection, request.answer(0))
            await self._loop.sock_sendall(dialled, request.first)
        except BaseException:
            reset_socket(dialled)
            reset_socket(connection)
            raise
        await self._joints.to_socket(connection, dialled)

    async def _say_last(self, connection: socket.socket, answer: bytes) -> None:
        """Then the end; it is read to the client's own, lest a reset take the answer away from it."""
        try:
            async with asyncio.timeout(ASKING_SECONDS):
                await self._loop.sock_sendall(connection, answer)
                connection.shutdown(socket.SHUT_WR)
                while await self._loop.sock_recv(connection, _ROOM):
                    pass
        except OSError as error:  # a timeout is one, too
            log.debug("the proxy's client did not wait for its answer: %s", error)
        finally:
            connection.close()


def _is_laptops(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
