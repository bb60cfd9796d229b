"""What the session does with the child's world from outside."""

from __future__ import annotations

import os
import signal
import socket
from typing import Any

import pytest
import trio

from telepresence_py.isolation.inside import Inside
from telepresence_py.model.errors import SessionLost
from tests.telepresence_py.isolation.joined import (
    POD_V4,
    POD_V6,
    each_user,
    entered,
    run_trio_as,
    start_joined,
    view,
)


def serve_hello(*addresses: str) -> None:
    """Inside: greet one connection on each address, port 8080, in their order."""
    servers = [
        socket.create_server((address, 8080), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
        for address in addresses
    ]
    for server in servers:
        accepted, _peer = server.accept()
        accepted.send(b"hello")
        accepted.close()


async def wait_for_port(inside: Inside, port: int) -> frozenset[str]:
    # the kernel has no event for it
    while port not in (ports := inside.listening_ports()):  # noqa: ASYNC110
        await trio.sleep(0.005)
    return ports[port]


async def greeting(inside: Inside, address: str) -> bytes:
    sock = await inside.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    connection = trio.socket.from_stdlib_socket(sock)
    with connection:
        await connection.connect((address, 8080))
        return await connection.recv(100)


@each_user
def test_a_socket_from_inside_reaches_the_child_on_its_addresses_and_its_loopback(user: str) -> None:
    addresses = (POD_V4, POD_V6, "127.0.0.1", "::1")

    async def main() -> Any:
        async with entered(view()) as inside:
            assert inside.listening_ports() == {}
            start_joined(inside, lambda: serve_hello(*addresses))
            listening = await wait_for_port(inside, 8080)
            while len(listening) < len(addresses):
                listening = await wait_for_port(inside, 8080)
            return listening, [await greeting(inside, address) for address in addresses]

    listening, greetings = run_trio_as(user, main)
    assert listening == frozenset(addresses)
    assert greetings == [b"hello"] * 4


def test_a_socket_from_inside_is_refused_where_the_child_does_not_listen() -> None:
    async def main() -> None:
        async with entered(view()) as inside:
            with pytest.raises(ConnectionRefusedError):
                await greeting(inside, POD_V4)

    run_trio_as("plain", main)


def test_many_who_ask_for_sockets_at_once_get_one_each_of_their_family() -> None:
    async def main() -> int:
        got = 0

        async def ask(family: int) -> None:
            nonlocal got
            with await inside.socket(family) as sock:
                assert sock.family == family
                assert not sock.getblocking()
                got += 1

        async with entered(view()) as inside, trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(ask, (socket.AF_INET, socket.AF_INET6)[number % 2])
        return got

    assert run_trio_as("plain", main) == 100


def test_who_is_cancelled_while_asking_takes_nobody_elses_socket() -> None:
    async def main() -> None:
        async with entered(view()) as inside:
            for _ in range(20):
                with trio.move_on_after(0):
                    await inside.socket(socket.AF_INET6)
                with await inside.socket(socket.AF_INET) as sock:
                    assert sock.family == socket.AF_INET

    run_trio_as("plain", main)


def test_when_the_agent_dies_the_session_learns_it() -> None:
    async def main() -> None:
        async with entered(view()) as inside:
            os.kill(inside.agent_pid, signal.SIGKILL)
            await inside.lost.wait()
            with pytest.raises(SessionLost, match="namespaces of the command are gone"):
                await inside.socket(socket.AF_INET)
            assert inside.listening_ports() == {}

    run_trio_as("plain", main)


def test_an_error_of_the_session_passes_through_unwrapped() -> None:
    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            async with entered(view()):
                raise ZeroDivisionError

    run_trio_as("plain", main)


def test_every_descriptor_is_closed_in_the_end() -> None:
    async def main() -> tuple[set[str], set[str]]:
        before = set(os.listdir("/proc/self/fd"))
        async with entered(view(volume_paths=("/data/a", "/data/b"))):
            pass
        return before, set(os.listdir("/proc/self/fd"))

    before, after = run_trio_as("plain", main)
    assert before == after
