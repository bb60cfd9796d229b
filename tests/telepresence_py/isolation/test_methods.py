"""The table of methods: the first that works is used."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest
import trio

from telepresence_py.isolation import Method, choose, enter
from telepresence_py.isolation.facts import HostFacts, gather
from telepresence_py.isolation.inside import Inside
from telepresence_py.isolation.steps import Refusal, Step, StepRefused
from telepresence_py.model.errors import PreconditionFailed
from telepresence_py.model.events import Event
from telepresence_py.model.world import NetworkView

VIEW = NetworkView("orders", ("10.0.0.1",))


@asynccontextmanager
async def _working(_view: NetworkView, notice: Callable[[str], None]) -> AsyncIterator[Inside]:
    notice("something is less than perfect")
    yield cast(Inside, "inside")


@asynccontextmanager
async def _refused(_view: NetworkView, _notice: Callable[[str], None]) -> AsyncIterator[Inside]:
    raise StepRefused(Refusal(Step.CAPTURE, errno.ENOENT, "nothing there"))
    yield


def _fits(_facts: HostFacts) -> str | None:
    return None


def _hindered(_facts: HostFacts) -> str | None:
    return "it needs another machine"


WORKING = Method("working", _fits, _working)
REFUSED = Method("refused", _fits, _refused)
HINDERED = Method("hindered", _hindered, _working)


def test_methods_that_cannot_work_here_are_left_out_with_their_reason() -> None:
    assert choose(gather(), [HINDERED, REFUSED, WORKING]) == (
        [REFUSED, WORKING],
        ["it needs another machine"],
    )


def test_the_first_that_works_is_used_and_told() -> None:
    events: list[Event] = []

    async def main() -> object:
        async with enter(VIEW, events.append, [HINDERED, REFUSED, WORKING]) as inside:
            return inside

    assert trio.run(main) == "inside"
    assert [event.name for event in events] == ["isolation-notice", "isolated"]
    assert events[-1].data == {"method": "working"}


def test_when_none_works_every_reason_is_told() -> None:
    async def main() -> None:
        async with enter(VIEW, lambda _event: None, [HINDERED, REFUSED]):
            pass

    with pytest.raises(PreconditionFailed) as caught:
        trio.run(main)
    assert "another machine" in caught.value.sentence
    assert "modprobe" in caught.value.sentence
    assert caught.value.exit_code == 78
