from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from telepresence_py.dns.podnames import SHARED_SECONDS, PodNames
from telepresence_py.dns.search import SearchPath
from telepresence_py.dns.wire import read_question
from telepresence_py.model.errors import SessionLost
from telepresence_sidecar.contract.names import Inquiry
from tests.fakes.loop import in_loop, until
from tests.telepresence_py.dns.test_keeping import DENIED, A, answer, record, soa
from tests.telepresence_py.dns.test_wire import query_for

PATH = SearchPath(("shop.svc", "svc", "lan"), ndots=5)
FORMS = [query_for(f"www.example{end}") for end in (".shop.svc", ".svc", ".lan", "")]


class Pod:
    """Knows `www.example` and no other name. Each inquiry is answered at once, or step by step."""

    def __init__(self) -> None:
        self.asked: list[Inquiry] = []
        self.now = 0.0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.error: Exception | None = None
        self.most_answers = 99
        self.answers: asyncio.Queue[bytes] = asyncio.Queue()
        self.seconds = 30
        self.names = PodNames(self.ask, PATH, lambda name: name == "kept.svc", lambda: self.now)

    async def ask(self, inquiry: Inquiry, on_answer: Callable[[bytes], None]) -> None:
        self.asked.append(inquiry)
        if self.error is not None:
            raise self.error
        for query in list(inquiry.queries())[: self.most_answers]:
            await self.may_answer.wait()
            on_answer(self.answer(query))
            if self.answer(query)[3] & 0xF != DENIED:
                return

    async def step_by_step(self, inquiry: Inquiry, on_answer: Callable[[bytes], None]) -> None:
        """The test says what comes when."""
        self.asked.append(inquiry)
        while True:
            on_answer(await self.answers.get())

    def answer(self, query: bytes) -> bytes:
        if read_question(query).name.lower() == "www.example":
            return answer([record(A, self.seconds)], query=query)
        return answer([], [soa(self.seconds, self.seconds)], query=query, code=DENIED)

    async def walk(self) -> list[bytes]:
        """As a resolver does: one form after the other."""
        return [await self.names(query, False) for query in FORMS]


@in_loop
async def test_a_name_outside_costs_one_round_trip_cold_and_none_warm() -> None:
    pod = Pod()
    expected = [pod.answer(query) for query in FORMS]
    assert await pod.walk() == expected
    assert len(pod.asked) == 1
    assert await pod.walk() == expected
    assert len(pod.asked) == 1


@in_loop
async def test_after_its_time_it_is_asked_again() -> None:
    pod = Pod()
    await pod.walk()
    pod.now = 29.0
    assert (await pod.names(FORMS[-1], False)).endswith(record(A, 1))
    pod.now = 30.0
    await pod.walk()
    assert len(pod.asked) == 2


@in_loop
async def test_answers_that_must_not_be_kept_need_no_second_round_trip_while_they_come() -> None:
    """The walk's answers may stand for no time at all; one who asks before they came has them."""
    pod = Pod()
    pod.seconds = 0
    pod.may_answer.clear()
    walking = [asyncio.ensure_future(pod.names(query, False)) for query in FORMS]
    await until(lambda: bool(pod.asked))
    pod.may_answer.set()
    assert [await each for each in walking] == [pod.answer(query) for query in FORMS]
    assert len(pod.asked) == 1


@in_loop
async def test_the_same_question_at_the_same_time_is_asked_once_and_each_has_its_identity() -> None:
    pod = Pod()
    queries = [query_for("www.example", identity=number) for number in (1, 2)]
    first, second = await asyncio.gather(*(pod.names(query, False) for query in queries))
    assert (first[:2], second[:2]) == (b"\0\1", b"\0\2")
    assert first[2:] == second[2:]
    assert len(pod.asked) == 1


@in_loop
async def test_who_gives_up_leaves_the_others_waiting() -> None:
    pod = Pod()
    pod.may_answer.clear()
    first, second = (asyncio.ensure_future(pod.names(FORMS[-1], False)) for _ in range(2))
    await until(lambda: bool(pod.asked))
    first.cancel()
    pod.may_answer.set()
    assert await second == pod.answer(FORMS[-1])


@in_loop
async def test_a_question_that_waits_for_long_is_asked_by_another_way() -> None:
    pod = Pod()
    pod.may_answer.clear()
    first = asyncio.ensure_future(pod.names(FORMS[-1], False))
    await until(lambda: len(pod.asked) == 1)
    pod.now = SHARED_SECONDS
    second = asyncio.ensure_future(pod.names(FORMS[-1], False))
    await until(lambda: len(pod.asked) == 2)
    pod.may_answer.set()
    assert await first == await second


@in_loop
async def test_a_walk_that_goes_on_is_waited_for_however_far_the_pod_is() -> None:
    pod = Pod()
    pod.names = PodNames(pod.step_by_step, PATH, clock=lambda: pod.now)
    first = asyncio.ensure_future(pod.names(FORMS[0], False))
    pod.now += 0.9 * SHARED_SECONDS
    pod.answers.put_nowait(pod.answer(FORMS[0]))
    await first
    pod.now += 0.9 * SHARED_SECONDS
    second = asyncio.ensure_future(pod.names(FORMS[1], False))
    await asyncio.sleep(0)
    pod.answers.put_nowait(pod.answer(FORMS[1]))
    assert await second == pod.answer(FORMS[1])
    assert len(pod.asked) == 1


@in_loop
async def test_an_answer_over_tcp_is_not_that_of_udp_while_they_are_asked_for() -> None:
    pod = Pod()
    await asyncio.gather(pod.names(FORMS[-1], False), pod.names(FORMS[-1], True))
    assert sorted(inquiry.whole for inquiry in pod.asked) == [False, True]


@in_loop
async def test_a_pod_that_tells_the_first_answer_alone_is_asked_name_by_name() -> None:
    """An older sidecar."""
    pod = Pod()
    pod.most_answers = 1
    assert await pod.walk() == [pod.answer(query) for query in FORMS]
    assert len(pod.asked) == len(FORMS)


@in_loop
async def test_an_answer_that_was_lost_on_the_way_is_not_taken_for_another() -> None:
    pod = Pod()
    real = pod.answer
    pod.answer = lambda query: real(FORMS[2] if query == FORMS[1] else query)  # type: ignore[method-assign]
    first = asyncio.ensure_future(pod.names(FORMS[0], False))
    third = asyncio.ensure_future(pod.names(FORMS[2], False))
    assert (await first, await third) == (real(FORMS[0]), real(FORMS[2]))
    pod.answer = real  # type: ignore[method-assign]
    assert await pod.names(FORMS[1], False) == real(FORMS[1])


@in_loop
async def test_names_that_rules_keep_from_the_pod_are_not_walked_to() -> None:
    pod = Pod()
    await pod.names(query_for("kept.shop.svc"), False)
    assert pod.asked[0].further == ()


@in_loop
@pytest.mark.parametrize("error", [TimeoutError("silence"), SessionLost("gone")])
async def test_what_went_wrong_is_told_to_everybody_and_not_kept(error: Exception) -> None:
    pod = Pod()
    pod.error = error
    told = await asyncio.gather(*(pod.names(FORMS[-1], False) for _ in range(2)), return_exceptions=True)
    assert told == [error, error]
    pod.error = None
    assert await pod.names(FORMS[-1], False) == pod.answer(FORMS[-1])


@in_loop
async def test_failures_that_nobody_waits_for_any_more_are_no_trouble() -> None:
    pod = Pod()
    asking = asyncio.ensure_future(pod.names(FORMS[-1], False))
    await asyncio.sleep(0)
    pod.error = OSError("nobody")
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
