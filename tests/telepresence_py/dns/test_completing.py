"""Short names of a resolver that has another search path than the pod's."""

from __future__ import annotations

import asyncio

import pytest

from telepresence_py.dns.completing import Completing
from telepresence_py.dns.search import SearchPath
from telepresence_py.dns.wire import AAAA, A, addresses_answer, addresses_told, failure, read_question
from tests.telepresence_py.dns.test_wire import query_for

PATH = SearchPath(("shop.svc.cluster.local", "svc.cluster.local"), ndots=3)
KNOWN = {
    "orders.shop.svc.cluster.local": ["10.96.1.2"],
    "stock.depot.svc.cluster.local": ["10.96.1.3"],
    "example.com": ["192.0.2.1"],
}


class Pod:
    def __init__(self) -> None:
        self.asked: list[str] = []

    async def answer(self, query: bytes) -> bytes | None:
        question = read_question(query)
        name = question.name.strip(".")
        self.asked.append(name)
        if name.startswith("silent"):
            return None
        if name not in KNOWN:
            return failure(query, question, 3)
        return addresses_answer(query, question, KNOWN[name], 30)


def completed(name: str, type_number: int = A) -> tuple[bytes | None, list[str]]:
    pod = Pod()
    return asyncio.run(Completing(pod.answer, PATH).answer(query_for(name, type_number))), pod.asked


@pytest.mark.parametrize(
    ("short", "address"),
    [("orders", "10.96.1.2"), ("stock.depot", "10.96.1.3"), ("example.com", "192.0.2.1")],
)
def test_a_short_name_has_the_addresses_that_it_has_along_the_path(short: str, address: str) -> None:
    told, _asked = completed(short)
    assert told is not None
    assert [(each.name.strip("."), each.address) for each in addresses_told(told)] == [(short, address)]
    assert told[:2] == query_for(short)[:2]


def test_a_name_that_has_addresses_of_the_other_family_alone_is_there() -> None:
    told, _asked = completed("orders", AAAA)
    assert told is not None
    assert (told[3] & 0xF, addresses_told(told)) == (0, [])


def test_a_name_that_is_nowhere_along_the_path_is_unknown() -> None:
    told, asked = completed("nobody")
    assert told is not None
    assert told[3] & 0xF == 3
    assert asked == ["nobody.shop.svc.cluster.local", "nobody.svc.cluster.local", "nobody"]


@pytest.mark.parametrize("name", ["a.b.c.example", "orders.svc.cluster.local"])
def test_a_long_name_and_one_in_a_domain_of_the_path_are_asked_for_as_they_are(name: str) -> None:
    _told, asked = completed(name)
    assert asked == [name]


def test_silence_stays_silence() -> None:
    assert completed("silent")[0] is None


def test_other_records_are_not_completed() -> None:
    _told, asked = completed("orders", 33)
    assert asked == ["orders"]
