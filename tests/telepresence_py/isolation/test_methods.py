"""The table of methods: the first that works is used."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest
import trio

from telepresence_py.isolation import METHODS, Method, choose, enter, limits_of
from telepresence_py.isolation.contract import Serve
from telepresence_py.isolation.facts import HostFacts, gather
from telepresence_py.isolation.inside import Inside
from telepresence_py.isolation.steps import Refusal, Step, StepRefused
from telepresence_py.model.errors import PreconditionFailed
from telepresence_py.model.events import Event, Level
from telepresence_py.model.intent import METHODS as NAMES
from telepresence_py.model.world import NetworkView

VIEW = NetworkView("orders", ("10.0.0.1",))


@asynccontextmanager
async def _working(_view: NetworkView, notice: Callable[[str], None], _serve: Serve) -> AsyncIterator[Inside]:
    notice("something is less than perfect")
    yield cast(Inside, "inside")


@asynccontextmanager
async def _refused(
    _view: NetworkView, _notice: Callable[[str], None], _serve: Serve
) -> AsyncIterator[Inside]:
    raise StepRefused(Refusal(Step.CAPTURE, errno.ENOENT, "nothing there"))
    yield


def _fits(_facts: HostFacts) -> str | None:
    return None


def _hindered(_facts: HostFacts) -> str | None:
    return "it needs another machine"


WORKING = Method("working", "the working way", _fits, _working)
REFUSED = Method("refused", "the refused way", _fits, _refused)
HINDERED = Method("hindered", "the hindered way", _hindered, _working)


def test_methods_that_cannot_work_here_are_left_out_with_their_reason() -> None:
    assert choose(gather(), [HINDERED, REFUSED, WORKING]) == (
        [REFUSED, WORKING],
        ["hindered: it needs another machine"],
    )


def test_one_that_does_less_is_used_only_when_it_was_asked_for() -> None:
    lesser = WORKING._replace(name="lesser", offer="which does less")
    assert choose(gather(), [REFUSED, lesser]) == ([REFUSED], [])
    assert choose(gather(), [REFUSED, lesser], "lesser") == ([lesser], [])


def test_the_one_that_was_asked_for_is_tried_alone() -> None:
    assert choose(gather(), [REFUSED, WORKING], "refused") == ([REFUSED], [])


def test_the_names_are_those_of_the_option_in_their_order() -> None:
    assert tuple(method.name for method in METHODS) == NAMES


def test_whatever_does_less_than_the_first_says_so_beforehand() -> None:
    assert all(limits_of(method.name) for method in METHODS[1:])
    assert not limits_of(METHODS[0].name)


def test_the_first_that_works_is_used_and_told() -> None:
    events: list[Event] = []

    async def main() -> object:
        async with enter(VIEW, events.append, methods=[HINDERED, REFUSED, WORKING]) as inside:
            return inside

    assert trio.run(main) == "inside"
    assert [event.name for event in events] == ["isolation-notice", "isolated"]
    assert events[-1].data == {"method": "working"}
    assert events[-1].level is Level.NOTICE, "it is not the first of the table"
    assert "hindered: it needs another machine" in events[-1].text
    assert "modprobe" in events[-1].text


def test_the_first_of_the_table_is_not_worth_a_word() -> None:
    events: list[Event] = []

    async def main() -> None:
        async with enter(VIEW, events.append, methods=[WORKING, REFUSED]):
            pass

    trio.run(main)
    assert events[-1].level is Level.DETAIL


def test_when_none_works_every_reason_is_told() -> None:
    lesser = WORKING._replace(name="lesser", offer="which does less")
    impossible = HINDERED._replace(name="impossible", offer="which needs another machine, too")

    async def main() -> None:
        async with enter(VIEW, lambda _event: None, methods=[HINDERED, REFUSED, lesser, impossible]):
            pass

    with pytest.raises(PreconditionFailed) as caught:
        trio.run(main)
    assert "another machine" in caught.value.sentence
    assert "modprobe" in caught.value.sentence
    assert "; or take --method lesser, which does less" in caught.value.sentence
    assert "impossible" not in caught.value.sentence
    assert caught.value.exit_code == 78
