from __future__ import annotations

import asyncio
from dataclasses import replace

from telepresence_py.dns.wire import addresses_told
from telepresence_py.forward.directions import ALL_TO_POD
from telepresence_py.forward.packets import Endpoint
from telepresence_py.model.events import Level
from telepresence_py.model.rules import Rule, Way
from telepresence_py.session.ruling import ruling
from tests.fakes.tunnel import FACTS
from tests.telepresence_py.dns.test_wire import A_DATA, POINTER, answer_with, query_for, record

SERVERS = frozenset({"10.96.0.10", "fd00:0::a"})
PEER = Endpoint("10.0.0.5", 8080)  # A_DATA


def made(*rules, hosts="", told=None):
    async def ask(inquiry, on_answer):
        on_answer(answer_with(inquiry.query, [record(POINTER, 1, A_DATA)]))

    facts = replace(FACTS, resolv_conf="search shop.svc\nnameserver 10.96.0.10\n", hosts=hosts)
    return ruling(rules, facts, SERVERS, ask, (told if told is not None else []).append)


def test_without_rules_all_goes_to_the_pod_and_its_name_servers():
    assert made().directions is ALL_TO_POD


def test_a_name_is_refused_once_it_was_resolved_by_the_search_path():
    async def main():
        ruled = made(Rule(Way.NEVER, "peer"))
        assert ruled.directions.way(PEER) is Way.TUNNEL
        answer = await ruled.forwarder.answer(query_for("peer.shop.svc"))
        assert addresses_told(answer) == [("peer.shop.svc", "10.0.0.5", 30)]
        assert ruled.directions.way(PEER) is Way.NEVER

    asyncio.run(main())


def test_a_name_of_the_pods_hosts_file_is_known_without_being_asked_for():
    async def main():
        ruled = made(Rule(Way.LAPTOP, "alias.example", 80), hosts="10.9.8.7 alias.example alias\n")
        assert ruled.directions.way(Endpoint("10.9.8.7", 80)) is Way.LAPTOP
        assert ruled.directions.way(Endpoint("10.9.8.7", 81)) is Way.TUNNEL

    asyncio.run(main())


def test_name_servers_are_no_matter_of_rules_and_are_read_only_for_names():
    async def main():
        refusing = Rule(Way.NEVER, "0.0.0.0/0")
        for rules, expected in (([refusing], Way.TUNNEL), ([refusing, Rule(Way.NEVER, "a")], Way.NAMES)):
            way = made(*rules).directions.way
            assert way(Endpoint("10.96.0.10", 53)) is expected
            assert way(Endpoint("fd00::a", 53)) is expected
            assert way(Endpoint("10.96.0.10", 853)) is Way.NEVER
            assert way(Endpoint("10.96.0.11", 53)) is Way.NEVER

    asyncio.run(main())


def test_other_containers_of_the_pod_are_reached_whatever_a_rule_says_of_their_network():
    way = made(Rule(Way.NEVER, "0.0.0.0/0")).directions.way
    assert [way(Endpoint(address, 8081)) for address in FACTS.addresses] == [Way.TUNNEL] * len(
        FACTS.addresses
    )


def test_each_rule_that_refuses_is_told_once():
    told = []
    way = made(Rule(Way.NEVER, "10.0.0.0/24"), Rule(Way.NEVER, "10.1.0.0/24", 80), told=told).directions.way
    for address in ("10.0.0.5", "10.0.0.6", "10.1.0.1", "10.2.0.1"):
        way(Endpoint(address, 80))
    assert [event.text for event in told] == [
        "Refused 10.0.0.5 port 80 by --never 10.0.0.0/24; told once",
        "Refused 10.1.0.1 port 80 by --never 10.1.0.0/24:80; told once",
    ]
    assert {event.level for event in told} == {Level.NOTICE}
