"""Listening where the workload does."""

from __future__ import annotations

import asyncio
import socket

from telepresence_sidecar.sockets import listen_everywhere
from tests.fakes.loop import in_loop


@in_loop
async def test_an_answer_to_who_arrives_waits_for_no_acknowledgement() -> None:
    loop = asyncio.get_running_loop()
    arrived: asyncio.Future[int] = loop.create_future()

    class Arrived(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            accepted = transport.get_extra_info("socket")
            arrived.set_result(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            transport.close()

    listener = listen_everywhere(0)
    server = await loop.create_server(Arrived, sock=listener)
    _, writer = await asyncio.open_connection("127.0.0.1", listener.getsockname()[1])
    assert await arrived
    writer.close()
    server.close()
