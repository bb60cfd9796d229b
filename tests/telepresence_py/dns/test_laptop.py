from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from telepresence_py.dns import laptop
from telepresence_py.dns.laptop import LaptopNames, system_addresses
from tests.fakes.loop import in_loop, until


@in_loop
async def test_the_loop_turns_while_the_system_is_asked() -> None:
    may_answer = threading.Event()

    def get(name: str) -> list[str]:
        assert may_answer.wait(10)
        return [f"address of {name}"]

    asking = asyncio.ensure_future(LaptopNames(get).addresses("nas"))
    await asyncio.sleep(0)
    may_answer.set()
    assert await asking == ["address of nas"]


@in_loop
async def test_what_is_asked_twice_at_the_same_time_is_looked_up_once() -> None:
    looked_up: list[str] = []
    may_answer = threading.Event()

    def get(name: str) -> list[str]:
        looked_up.append(name)
        assert may_answer.wait(10)
        return ["10.0.0.1"]

    names = LaptopNames(get)
    both = asyncio.gather(names.addresses("nas"), names.addresses("nas"))
    await until(lambda: bool(looked_up))
    may_answer.set()
    assert await both == [["10.0.0.1"], ["10.0.0.1"]]
    assert looked_up == ["nas"]
    await names.addresses("nas")
    assert looked_up == ["nas", "nas"]


@in_loop
async def test_whoever_gives_up_leaves_the_others_waiting() -> None:
    may_answer = threading.Event()

    def get(_name: str) -> list[str]:
        assert may_answer.wait(10)
        return ["10.0.0.1"]

    names = LaptopNames(get)
    first, second = (asyncio.ensure_future(names.addresses("nas")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    may_answer.set()
    assert await second == ["10.0.0.1"]


@in_loop
async def test_a_refusal_of_the_system_comes_through() -> None:
    def get(_name: str) -> list[str]:
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    with pytest.raises(socket.gaierror) as refused:
        await LaptopNames(get).addresses("nas")
    assert refused.value.errno == socket.EAI_AGAIN


@in_loop
async def test_names_under_way_are_bounded_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(laptop, "MOST_AT_ONCE", 2)
    may_answer = threading.Event()
    asked: list[str] = []

    def get(name: str) -> list[str]:
        asked.append(name)
        assert may_answer.wait(10)
        return []

    names = LaptopNames(get)
    all_of_them = asyncio.gather(*(names.addresses(f"n{number}") for number in range(5)))
    await until(lambda: len(asked) == 2)
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(asked) == 2
    may_answer.set()
    await all_of_them
    assert len(asked) == 5


def test_addresses_are_those_of_the_system_but_for_those_of_one_link(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(name: str, port: object, **more: object) -> list[tuple[object, ...]]:
        assert (name, port) == ("nas", None)
        found = [("192.168.1.7", 0), ("192.168.1.7", 0), ("fd00::7", 0, 0, 0), ("fe80::7%3", 0, 0, 3)]
        return [(0, 0, 0, "", address) for address in [*found, ("fe80::8", 0, 0, 0)]]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert system_addresses("nas") == ["192.168.1.7", "fd00::7"]
