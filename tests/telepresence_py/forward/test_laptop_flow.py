from __future__ import annotations

import socket

import pytest

from telepresence_py.forward.laptop_flow import open_laptop_flow
from telepresence_py.forward.packets import Endpoint
from tests.fakes.loop import in_loop, until


def unheard() -> None:
    raise AssertionError("nobody refused")


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_datagrams_leave_the_laptop_and_answers_come_back(family: int, host: str) -> None:
    @in_loop
    async def answered() -> None:
        heard: list[bytes] = []
        with socket.socket(family, socket.SOCK_DGRAM) as server:
            server.bind((host, 0))
            server.settimeout(5)
            flow = open_laptop_flow(Endpoint(*server.getsockname()[:2]), heard.append, unheard)
            flow.send(b"ping")
            datagram, peer = server.recvfrom(100)
            assert datagram == b"ping"
            for number in range(100):
                server.sendto(b"%d" % number, peer)
            await until(lambda: len(heard) == 100)
            flow.close()
            flow.close()
            flow.send(b"after the end")

    answered()


@in_loop
async def test_nobody_there_is_told_once_and_is_the_end() -> None:
    told: list[int] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        destination = Endpoint(*unused.getsockname())
    flow = open_laptop_flow(destination, lambda _: None, lambda: told.append(1))
    flow.send(b"ping")
    await until(lambda: bool(told))
    flow.send(b"again")
    flow.close()
    assert told == [1]


@in_loop
async def test_a_datagram_that_cannot_be_sent_is_lost_and_nothing_else() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)
        flow = open_laptop_flow(Endpoint(*server.getsockname()), lambda _: None, unheard)
        flow.send(bytes(70_000))
        flow.send(b"ping")
        assert server.recv(100) == b"ping"
        flow.close()


@in_loop
async def test_a_network_that_the_laptop_has_not_is_an_error_at_once() -> None:
    with pytest.raises(OSError, match=r"."):
        open_laptop_flow(Endpoint("255.255.255.255", 9), lambda _: None, unheard)
