from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from telepresence_py.dns import wire
from telepresence_py.dns.forwarder import Forwarder
from telepresence_py.dns.names import RuledNames
from telepresence_py.dns.ruled import ANSWER_SECONDS, RuledResolve
from telepresence_py.model.rules import Rule, Way
from tests.fakes.loop import in_loop
from tests.telepresence_py.dns.test_wire import answer_to, query_for

NEVER = Rule(Way.NEVER, "db.example")
KEPT = Rule(Way.LAPTOP, "*.lab.example", 443)


class World:
    """A pod that answers with one address, a laptop with a hosts file; what was asked and learned."""

    def __init__(self) -> None:
        self.asked_pod: list[bytes] = []
        self.asked_laptop: list[str] = []
        self.learned: list[tuple[Rule, str, float]] = []
        self.hosts = {"nas.lab.example": ["192.0.2.7", "fd00::7"]}
        self.trouble = socket.EAI_NONAME

    async def by_pod(self, query: bytes, whole: bool) -> bytes:
        self.asked_pod.append(query)
        record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 30, 4) + socket.inet_aton("10.0.0.5")
        return answer_to(query[:6] + b"\0\1" + query[8:], record)

    async def by_laptop(self, name: str) -> list[str]:
        self.asked_laptop.append(name)
        if name not in self.hosts:
            raise socket.gaierror(self.trouble, "no")
        return self.hosts[name]

    def forwarder(self) -> Forwarder:
        names = RuledNames([NEVER, KEPT], ["shop.svc"])
        return Forwarder(
            RuledResolve(self.by_pod, names, self.by_laptop, lambda *what: self.learned.append(what))
        )

    def ask(self, name: str, type_number: int = 1) -> bytes:
        answer = asyncio.run(self.forwarder().answer(query_for(name, type_number)))
        assert answer is not None
        return answer


def addresses(answer: bytes) -> list[str]:
    return [told.address for told in wire.addresses_told(answer)]


def code(answer: bytes) -> int:
    return answer[3] & 0xF


def test_the_pods_answer_for_a_name_under_a_rule_is_learned_and_passed_on() -> None:
    world = World()
    assert addresses(world.ask("db.example")) == ["10.0.0.5"]
    assert world.learned == [(NEVER, "10.0.0.5", 30)]
    assert not world.asked_laptop


def test_of_other_names_nothing_is_learned() -> None:
    world = World()
    assert addresses(world.ask("www.example")) == ["10.0.0.5"]
    assert world.learned == []


@pytest.mark.parametrize("name", ["nas.lab.example", "NAS.lab.example", "nas.lab.example.shop.svc"])
def test_a_name_that_is_kept_is_asked_of_the_laptop_alone(name: str) -> None:
    world = World()
    assert addresses(world.ask(name)) == ["192.0.2.7"]
    assert addresses(world.ask(name, 28)) == ["fd00::7"]
    assert world.asked_laptop == ["nas.lab.example"] * 2
    assert not world.asked_pod
    assert world.learned == [(KEPT, "192.0.2.7", ANSWER_SECONDS), (KEPT, "fd00::7", ANSWER_SECONDS)]


def test_of_other_records_a_name_that_is_kept_has_none() -> None:
    answer = World().ask("nas.lab.example", 33)
    assert (code(answer), addresses(answer)) == (0, [])


def test_a_name_that_the_laptop_does_not_know_does_not_exist() -> None:
    world = World()
    assert code(world.ask("no.lab.example")) == wire.NO_SUCH_NAME
    assert not world.asked_pod


def test_a_laptop_that_cannot_tell_now_is_a_server_failure() -> None:
    world = World()
    world.trouble = socket.EAI_AGAIN
    assert code(world.ask("no.lab.example")) == wire.SERVER_FAILURE


def test_an_answer_that_cannot_be_read_is_not_passed_on() -> None:
    """It could hold an address of a name that is never to be reached."""
    world = World()

    async def broken(query: bytes, whole: bool) -> bytes:
        return answer_to(query[:6] + b"\0\1" + query[8:], b"\xc0")

    world.by_pod = broken  # type: ignore[method-assign]
    assert code(world.ask("db.example")) == wire.SERVER_FAILURE


@in_loop
async def test_over_tcp_queries_are_answered_one_after_the_other_and_whole() -> None:
    world = World()
    world.hosts["many.lab.example"] = [f"192.0.2.{number}" for number in range(200)]
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    serving = asyncio.ensure_future(world.forwarder().serve_stream(theirs))
    reader, writer = await asyncio.open_connection(sock=ours)
    for name, count in (("many.lab.example", 200), ("db.example", 1)):
        query = query_for(name)
        writer.write(struct.pack(">H", len(query)) + query)
        answer = await reader.readexactly(struct.unpack(">H", await reader.readexactly(2))[0])
        assert answer[:2] == query[:2]
        assert len(addresses(answer)) == count
    writer.close()
    await serving


@in_loop
async def test_what_is_no_query_ends_a_connection() -> None:
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    serving = asyncio.ensure_future(World().forwarder().serve_stream(theirs))
    reader, writer = await asyncio.open_connection(sock=ours)
    writer.write(b"\0\5hello")
    assert await reader.read() == b""
    writer.close()
    await serving


def test_over_udp_an_answer_that_is_too_large_is_cut() -> None:
    world = World()
    world.hosts["many.lab.example"] = [f"192.0.2.{number}" for number in range(200)]
    answer = world.ask("many.lab.example")
    assert struct.unpack(">H", answer[2:4])[0] & wire.TRUNCATED
    assert len(answer) < 512
