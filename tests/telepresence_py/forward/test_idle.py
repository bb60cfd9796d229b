"""Nobody counts how long a connection says nothing. The clock is the test's: hours go by at once."""

from __future__ import annotations

import asyncio
import socket

from telepresence_py.forward.joining import Joints
from telepresence_sidecar.contract.frames import Kind, Opening
from telepresence_sidecar.contract.stream import MuxStream
from telepresence_sidecar.outbound import connect
from tests.fakes.loop import in_virtual_time, settle
from tests.fakes.wire import MuxPair
from tests.telepresence_sidecar.inbound_pod import Pod, listener

LONG = 2 * 3600.0


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(100):
        writer.write(data)
    writer.close()


async def says(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, word: bytes) -> None:
    writer.write(word)
    assert await reader.readexactly(len(word)) == word


async def connected() -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection over loopback, non-blocking."""
    with listener() as listening:
        child = socket.create_connection(listening.getsockname())
        ours = listening.accept()[0]
    for end in (child, ours):
        end.setblocking(False)
    return child, ours


@in_virtual_time
async def test_what_the_child_connected_to_is_there_after_two_hours_of_silence() -> None:
    server = await asyncio.start_server(echo, sock=listener())
    pair, dials = MuxPair(), []
    pair.on_open_at_pod = lambda stream: dials.append(asyncio.ensure_future(connect(stream)))
    child, ours = await connected()
    stream = pair.laptop.open(Opening(Kind.TCP, *server.sockets[0].getsockname()))
    joints = Joints()
    await joints.to_stream(ours, stream)
    reader, writer = await asyncio.open_connection(sock=child)
    for word in (b"good morning", b"good evening"):
        await says(reader, writer, word)
        await asyncio.sleep(LONG)
    writer.write_eof()
    assert await reader.read() == b"", "and it still ends in order"
    writer.close()
    server.close()
    await settle()
    assert all(dial.done() for dial in dials)


@in_virtual_time
async def test_who_called_the_child_is_there_after_two_hours_of_silence() -> None:
    server = await asyncio.start_server(echo, sock=listener())
    joints, pod = Joints(), await Pod().start()

    def taken(stream: MuxStream) -> None:
        stream.accept()
        connection = socket.create_connection(server.sockets[0].getsockname())
        connection.setblocking(False)
        joints.start(joints.to_stream(connection, stream))

    pod.answer = taken
    pod.client_comes()
    reader, writer = await asyncio.open_connection(*pod.address)
    for word in (b"good morning", b"good evening"):
        await says(reader, writer, word)
        await asyncio.sleep(LONG)
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()
    server.close()
    await settle()
