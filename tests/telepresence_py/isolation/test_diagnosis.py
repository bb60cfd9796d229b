"""What the kernel tells of the child's end of a connection; real namespaces."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any

import pytest

from telepresence_py.isolation import diagnosis
from telepresence_py.isolation.diagnosis import Diagnosis, open_wire
from telepresence_py.model.world import Reception
from tests.telepresence_py.isolation.joined import (
    POD_V4,
    POD_V6,
    each_user,
    entered,
    joined,
    run_trio_as,
    view,
)

PORT = 8080

SHAPES = {
    "IPv4": (POD_V4, POD_V4),
    "IPv6": (POD_V6, POD_V6),
    "IPv4 at a listener of both": ("::", POD_V4),
    "loopback": ("127.0.0.1", "127.0.0.1"),
}
each_shape = pytest.mark.parametrize("shape", SHAPES)


class Visit:
    """Inside: a listener, connections to it, and what is told of them."""

    def __init__(self, asked: Diagnosis, shape: str = "IPv4", backlog: int = 5, defer: int = 0) -> None:
        self.asked = asked
        address, self.to = SHAPES[shape]
        self.listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        if address == "::":
            self.listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, defer)
        self.listener.bind((address, PORT))
        self.listener.listen(backlog)

    def connect(self) -> socket.socket:
        made = socket.socket(socket.AF_INET6 if ":" in self.to else socket.AF_INET)
        made.setblocking(False)
        assert made.connect_ex((self.to, PORT)) in {0, errno.EINPROGRESS}
        return made

    def reception(self, connection: socket.socket) -> Reception:
        return self.asked.reception((self.to, PORT), connection.getsockname()[:2])


def told_inside(user: str, tell: Callable[[Diagnosis], list[Any]]) -> list[Any]:
    async def main() -> Any:
        async with entered(view()) as inside:
            asked = inside.diagnosis
            assert asked is not None
            return await joined(inside, lambda: tell(asked))

    told: list[Any] = run_trio_as(user, main)
    return told


@each_user
@each_shape
def test_a_connection_is_queued_until_the_child_accepts_it(user: str, shape: str) -> None:
    def tell(asked: Diagnosis) -> list[Reception]:
        visit = Visit(asked, shape)
        connection = visit.connect()
        told = [visit.reception(connection)]
        accepted, _ = visit.listener.accept()
        told.append(visit.reception(connection))
        accepted.close()
        told.append(visit.reception(connection))
        connection.shutdown(socket.SHUT_WR)
        return [*told, visit.reception(connection)]

    assert told_inside(user, tell) == [Reception.QUEUED] + [Reception.TAKEN] * 3


@each_shape
def test_a_connection_goes_with_the_listener_that_had_not_accepted_it(shape: str) -> None:
    def tell(asked: Diagnosis) -> list[Any]:
        visit = Visit(asked, shape)
        connection = visit.connect()
        visit.listener.close()
        told: list[Any] = [visit.reception(connection)]
        with Visit(asked, shape).listener:
            told.append(visit.reception(connection))
        return [*told, connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)]

    assert told_inside("plain", tell) == [Reception.NOBODY, Reception.UNSEEN, errno.ECONNRESET]


@each_shape
def test_a_listener_that_defers_wants_the_first_bytes(shape: str) -> None:
    def tell(asked: Diagnosis) -> list[Reception]:
        visit = Visit(asked, shape, defer=5)
        connection = visit.connect()
        told = [visit.reception(connection)]
        connection.send(b"GET")
        told.append(visit.reception(connection))
        with visit.listener.accept()[0]:
            told.append(visit.reception(connection))
        late = visit.connect()
        visit.listener.close()
        return [*told, visit.reception(late)]

    assert told_inside("plain", tell) == [
        Reception.DEFERRED,
        Reception.QUEUED,
        Reception.TAKEN,
        Reception.NOBODY,
    ]


def test_a_full_queue_is_not_taken_for_a_listener_that_defers() -> None:
    """Neither while the kernel drops the attempt, nor for one that came while there still was room."""

    def tell(asked: Diagnosis) -> list[Any]:
        visit = Visit(asked, backlog=1, defer=5)
        connections = [visit.connect() for _ in range(3)]
        for each in connections[:2]:
            each.send(b"GET")
        return [visit.reception(each) for each in connections]

    assert told_inside("plain", tell) == [Reception.QUEUED] * 3


def test_listeners_are_told_apart_by_numbers_that_are_never_given_again() -> None:
    def tell(asked: Diagnosis) -> list[Any]:
        seen = []
        for shape in ("IPv4", "IPv4", "IPv6"):
            with Visit(asked, shape).listener:
                seen.append(asked.listeners()[PORT])
        return [PORT in asked.listeners(), *(len(each) for each in seen), len(frozenset().union(*seen))]

    assert told_inside("plain", tell) == [False, 1, 1, 1, 3]


def test_a_kernel_that_does_not_answer_is_found_out_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)):
        wire = open_wire()
        assert wire is not None
        wire.close()
        monkeypatch.setattr(diagnosis, "SOCK_DIAG", 31)  # a protocol that there is not
        assert open_wire() is None
        monkeypatch.setattr(diagnosis, "SOCK_DIAG", 16)  # one of another kind
        assert open_wire() is None
