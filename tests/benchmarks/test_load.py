"""The load programs with each other, without any tunnel."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from benchmarks.asking import Client, Failed, client
from benchmarks.pods import ECHO, HTTP, SINK, SOURCE
from benchmarks.ways import server_here

SIZE = 8 << 20


@pytest.fixture(scope="module")
def ports() -> Iterator[dict[int, int]]:
    with server_here() as found:
        yield found


@pytest.fixture(scope="module")
def asking() -> Iterator[Client]:
    with client() as one:
        yield one


@pytest.mark.parametrize("streams", [1, 8])
@pytest.mark.parametrize(("do", "port"), [("up", SINK), ("down", SOURCE)])
def test_bulk_is_timed_until_all_of_it_is_there(asking, ports, do, port, streams):
    answer = asking.ask(do, host="127.0.0.1", port=ports[port], size=SIZE, streams=streams)
    assert answer["seconds"] > 0


def test_echoes_are_begun_whether_others_are_back_or_not(asking):
    """A server that answers all at once at the end: each echo counts from its own beginning."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        order = {"do": "echo", "host": "127.0.0.1", "port": listener.getsockname()[1], "seconds": 1.0}
        asking.send(order)
        with listener.accept()[0] as connection:
            received = b""
            while len(received) < 64 * 10:
                received += connection.recv(4096)
            connection.sendall(received)
            while data := connection.recv(4096):
                connection.sendall(data)
        round_trips = asking.answer()["round_trips"]
    assert round_trips[:10] == sorted(round_trips[:10], reverse=True)
    assert len(round_trips) >= 10


@pytest.mark.parametrize(("direction", "bulk"), [("up", SINK), ("down", SOURCE)])
def test_bytes_move_beside_an_echo(asking, ports, direction, bulk):
    answer = asking.ask(
        "echo",
        host="127.0.0.1",
        port=ports[ECHO],
        seconds=0.1,
        beside=direction,
        bulk_port=ports[bulk],
    )
    assert answer["round_trips"]
    assert answer["rate"] > 0


@pytest.mark.parametrize("parallel", [1, 50])
def test_connections_and_requests_are_counted_and_timed(asking, ports, parallel):
    for do, port in (("connections", ECHO), ("requests", HTTP)):
        answer = asking.ask(do, host="127.0.0.1", port=ports[port], seconds=0.1, parallel=parallel)
        assert len(answer["round_trips"]) >= parallel
        assert answer["rate"] > 0


def test_connections_are_held_and_let_go(asking, ports):
    for count in (120, 20, 0):
        assert asking.ask("hold", host="127.0.0.1", port=ports[ECHO], count=count) == {"held": count}


def test_what_fails_is_told_and_the_next_order_is_carried_out(asking, ports):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(Failed, match="ConnectionRefused"):
            asking.ask("up", host="127.0.0.1", port=unused.getsockname()[1], size=SIZE)
    assert asking.ask("hold", host="127.0.0.1", port=ports[ECHO], count=0) == {"held": 0}


def test_a_name_is_looked_up_in_the_time_it_takes(asking):
    assert asking.ask("look_up", name="localhost")["seconds"] > 0


def test_a_name_that_does_not_exist_is_no_figure(asking):
    with pytest.raises(Failed, match="gaierror"):
        asking.ask("look_up", name="name.invalid")
