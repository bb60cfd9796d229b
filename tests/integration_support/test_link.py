"""The delay proxy that faults and figures stand on."""

from __future__ import annotations

import json
import socket
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.support.link import Link, LinkFailed

SECONDS = 20


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """A server that sends back all that comes, and then its end."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        threading.Thread(target=_serve, args=(listener,), daemon=True).start()
        yield listener.getsockname()


def _serve(listener: socket.socket) -> None:
    while True:
        try:
            connection = listener.accept()[0]
        except OSError:
            return
        threading.Thread(target=_echo, args=(connection,), daemon=True).start()


def _echo(connection: socket.socket) -> None:
    with connection:
        try:
            while data := connection.recv(65536):
                connection.sendall(data)
        except OSError:
            return


@pytest.fixture
def link(echo: tuple[str, int]) -> Iterator[Link]:
    with Link(echo) as link:
        yield link


def _connect(link: Link) -> socket.socket:
    return socket.create_connection(("127.0.0.1", link.port), SECONDS)


def _read(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        data = connection.recv(size - len(received))
        assert data
        received += data
    return received


def test_megabytes_come_back_whole_and_in_order_with_their_end(link: Link) -> None:
    link.delay(20)
    data = b"".join(number.to_bytes(8, "big") for number in range(1 << 20))
    with _connect(link) as connection:

        def send() -> None:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        assert _read(connection, len(data)) == data
        assert connection.recv(1) == b""
        sender.join()


def test_a_round_trip_takes_at_least_the_delay(link: Link) -> None:
    with _connect(link) as connection:
        connection.sendall(b"x")
        _read(connection, 1)
        link.delay(60)
        began = time.monotonic()
        connection.sendall(b"x")
        _read(connection, 1)
        assert time.monotonic() - began >= 0.06


def test_a_cut_resets_connections_and_new_ones_live(link: Link) -> None:
    with _connect(link) as connection:
        connection.sendall(b"x")
        _read(connection, 1)
        link.cut()
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    with _connect(link) as connection:
        connection.sendall(b"y")
        assert _read(connection, 1) == b"y"


def test_a_stalled_link_carries_nothing_and_loses_nothing(link: Link) -> None:
    with _connect(link) as connection:
        connection.sendall(b"a")
        _read(connection, 1)
        link.stall()
        connection.sendall(b"b")
        with _connect(link) as second:
            second.sendall(b"c")
            connection.settimeout(0.1)
            with pytest.raises(TimeoutError):
                connection.recv(1)
            link.go()
            connection.settimeout(SECONDS)
            assert _read(connection, 1) == b"b"
            assert _read(second, 1) == b"c"


def test_while_it_refuses_only_new_connections_fail(link: Link) -> None:
    with _connect(link) as connection:
        connection.sendall(b"a")
        _read(connection, 1)
        link.refuse()
        with pytest.raises(ConnectionRefusedError):
            _connect(link)
        connection.sendall(b"b")
        assert _read(connection, 1) == b"b"
        link.accept()
        with _connect(link) as second:
            second.sendall(b"c")
            assert _read(second, 1) == b"c"


def test_orders_given_twice_hold_once(link: Link) -> None:
    for order in (
        link.stall,
        link.stall,
        link.go,
        link.go,
        link.refuse,
        link.refuse,
        link.accept,
        link.accept,
    ):
        order()
    with _connect(link) as connection:
        connection.sendall(b"a")
        assert _read(connection, 1) == b"a"


def test_a_target_that_nobody_serves_ends_the_connection() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with Link(unused.getsockname()) as link, pytest.raises(ConnectionResetError):
            with _connect(link) as connection:  # the reset may be there before connect has returned
                connection.recv(1)


def test_a_sender_is_held_up_when_the_receiver_reads_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, Link(listener.getsockname()) as link:
        with _connect(link) as connection, listener.accept()[0]:
            connection.settimeout(0.5)
            with pytest.raises(TimeoutError):
                connection.sendall(bytes(256 << 20))


def test_an_unknown_order_is_an_error(link: Link) -> None:
    with pytest.raises(LinkFailed, match="dance"):
        link._order("dance")


def test_a_kubeconfig_by_the_link_still_checks_the_servers_certificate(link: Link) -> None:
    content = {"clusters": [{"name": "c", "cluster": {"server": "https://198.51.100.7:6443", "x": 1}}]}
    path = Path(link.kubeconfig(content))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())["clusters"][0]["cluster"] == {
        "server": f"https://127.0.0.1:{link.port}",
        "tls-server-name": "198.51.100.7",
        "x": 1,
    }
    assert content["clusters"][0]["cluster"]["server"] == "https://198.51.100.7:6443"
