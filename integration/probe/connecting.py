"""What connect() says, to programs that wait for it and to those that do not. Needs Python 3, nothing else.

    connecting.py each ADDRESS PORT [ADDRESS PORT ...]   prints {"ADDRESS PORT": [WAITING, NOT WAITING]}
    connecting.py crowd COUNT ADDRESS PORT               prints {SAID: HOW MANY} of so many at once
    connecting.py serve PORT                             echoes, with room for a crowd before its door

What is said is an errno's name, or `accepted` by somebody who answers what is sent, or else `accepted, then
ERRNO`. But for a crowd the kernel repeats the first packet twice, so that silence is ETIMEDOUT after seven
seconds.
"""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import errno
import json
import select
import socket
import sys
import time

SECONDS = 20.0
CROWD_SECONDS = 60.0
ROOM = 2048


def unconnected(address: str) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, 2)
    return made


def name(number: int) -> str:
    return errno.errorcode[number] if number else "accepted"


def what_follows(connection: socket.socket) -> str:
    connection.settimeout(SECONDS)
    try:
        connection.sendall(b"?")
        return "" if connection.recv(1) else ", then its end"
    except OSError as error:
        return f", then {errno.errorcode.get(error.errno or 0, 'nothing')}"


def waiting(address: str, port: int) -> str:
    with unconnected(address) as connection:
        said = name(connection.connect_ex((address, port)))
        return said + (what_follows(connection) if said == "accepted" else "")


def not_waiting(address: str, port: int) -> str:
    with unconnected(address) as connection:
        connection.setblocking(False)
        at_once = connection.connect_ex((address, port))
        if at_once != errno.EINPROGRESS:
            return name(at_once)
        poll = select.poll()
        poll.register(connection, select.POLLOUT)
        while poll.poll(SECONDS * 1000):
            if said := what_became_of(connection):
                return said + (what_follows(connection) if said == "accepted" else "")
        return "nothing"


def what_became_of(connection: socket.socket) -> str:
    """Once poll() woke us; empty if it did so too early: Linux queues an ICMP error (tcp_v4_err), which wakes
    us, a moment before it is the socket's."""
    if error := connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        return name(error)
    try:
        connection.getpeername()
    except OSError:
        # a reset may have come in between, and taken the peer along
        error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return name(error) if error else ""
    return name(0)


def each(words: list[str]) -> dict[str, list[str]]:
    ends = [(address, int(port)) for address, port in zip(words[::2], words[1::2], strict=True)]
    with concurrent.futures.ThreadPoolExecutor(2 * len(ends)) as threads:
        asked = {end: [threads.submit(way, *end) for way in (waiting, not_waiting)] for end in ends}
    return {f"{end[0]} {end[1]}": [one.result() for one in said] for end, said in asked.items()}


def crowd(count: int, address: str, port: int) -> dict[str, int]:
    said: dict[str, int] = collections.Counter()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    connections = [socket.socket(family, socket.SOCK_STREAM) for _ in range(count)]
    poll = select.poll()
    waiting: dict[int, socket.socket] = {}
    for connection in connections:
        connection.setblocking(False)
        at_once = connection.connect_ex((address, port))
        if at_once == errno.EINPROGRESS:
            poll.register(connection, select.POLLOUT)
            waiting[connection.fileno()] = connection
        else:
            said[name(at_once)] += 1
    deadline = time.monotonic() + CROWD_SECONDS
    while waiting and time.monotonic() < deadline:
        for descriptor, _event in poll.poll(1000):
            if became := what_became_of(waiting[descriptor]):
                said[became] += 1
                poll.unregister(descriptor)
                del waiting[descriptor]
    if waiting:
        said["nothing"] += len(waiting)
    return said


async def serve(port: int) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, None, port, backlog=ROOM)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    what, *words = sys.argv[1:]
    if what == "serve":
        asyncio.run(serve(int(words[0])))
    elif what == "crowd":
        print(json.dumps(crowd(int(words[0]), words[1], int(words[2]))))
    else:
        print(json.dumps(each(words)))
