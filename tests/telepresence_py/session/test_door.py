"""The session's end of the door, against the CLI's own end of it."""

from __future__ import annotations

import os
import socket

import pytest
import trio
import trio.testing

from telepresence_py.model.door import (
    ChildEnded,
    ChildStarted,
    Confirm,
    Confirmed,
    Ended,
    News,
    StartChild,
    Stop,
    StopChild,
    Swap,
)
from telepresence_py.model.events import Event
from telepresence_py.model.intent import ClusterChoice, SwapIntent
from telepresence_py.process.door_socket import Arrival, DoorSocket
from telepresence_py.session.door import CliGone, open_door

INTENT = SwapIntent(
    cluster=ClusterChoice(),
    kind="deployment",
    name="orders",
    container=None,
    ports=(),
    command=("true",),
    holder="me@here",
)


@pytest.fixture
def ends():
    """The session's raw socket and the CLI's door."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(10)
    cli = DoorSocket(theirs)
    yield ours, cli
    cli.close()


async def _receive(cli: DoorSocket, count: int) -> list[Arrival]:
    arrivals: list[Arrival] = []
    while len(arrivals) < count:
        arrivals += await trio.to_thread.run_sync(cli.receive) or []
    return arrivals


def test_the_intent_is_what_the_command_line_said(ends):
    async def main():
        async with open_door(ends[0]) as door:
            ends[1].send(Swap(INTENT))
            assert await door.opening() == Swap(INTENT)

    trio.run(main)


def test_a_command_line_that_goes_away_ends_whatever_is_waited_for(ends):
    async def main():
        async with open_door(ends[0]) as door:
            ends[1].send(Swap(INTENT))
            await door.opening()
            ends[1].close()
            with pytest.raises(CliGone):
                await door.wait_child_ended()

    trio.run(main)


def test_a_wish_to_stop_is_heard_while_nothing_is_asked(ends):
    async def main():
        async with open_door(ends[0]) as door:
            ends[1].send(Stop("SIGINT"))
            with pytest.raises(CliGone, match="SIGINT"):
                await door.watch_for_stop()

    trio.run(main)


def test_once_the_child_is_there_a_stop_is_heard_by_who_waits_for_the_child_alone(ends):
    async def main():
        async with open_door(ends[0]) as door, trio.open_nursery() as nursery:
            nursery.start_soon(door.watch_for_stop)
            ends[1].send(ChildStarted(42))
            await door.start_child({}, {})
            ends[1].close()
            with pytest.raises(CliGone):
                await door.wait_child_ended()
            await trio.testing.wait_all_tasks_blocked()

    trio.run(main)


def test_namespaces_arrive_as_open_descriptors(ends):
    async def main(null):
        async with open_door(ends[0]) as door, trio.open_nursery() as nursery:
            nursery.start_soon(door.start_child, {"A": "1"}, {"user": null, "net": null})
            (arrival,) = await _receive(ends[1], 1)
            assert arrival.message == StartChild({"A": "1"}, ("user", "net"))
            assert [os.readlink(f"/proc/self/fd/{fd}") for fd in arrival.descriptors] == [os.devnull] * 2
            for descriptor in arrival.descriptors:
                os.close(descriptor)
            ends[1].send(ChildStarted(42))

    with open(os.devnull) as null:
        trio.run(main, null.fileno())


def test_namespaces_that_go_at_once_arrive_all_the_same_and_what_is_said_after_them_too(ends):
    async def main():
        async with open_door(ends[0]) as door:
            null = os.open(os.devnull, os.O_RDONLY)
            door.post(StartChild({}, ("user",)), (null,))
            os.close(null)
            door.post(Ended())
            first, last = await _receive(ends[1], 2)
            assert os.readlink(f"/proc/self/fd/{first.descriptors[0]}") == os.devnull
            assert last.message == Ended()
            os.close(first.descriptors[0])

    trio.run(main)


def test_the_childs_status_is_known_when_it_ended(ends):
    async def main():
        async with open_door(ends[0]) as door:
            ends[1].send(ChildStarted(42))
            ends[1].send(ChildEnded(-9))
            await door.wait_child_ended()
            assert door.child_status == -9

    trio.run(main)


def test_a_child_that_never_ran_is_not_stopped(ends):
    async def main():
        async with open_door(ends[0]) as door:
            await door.stop_child(1)

    trio.run(main)


def test_a_running_child_is_stopped_before_the_session_goes_on(ends):
    async def main():
        async with open_door(ends[0]) as door, trio.open_nursery() as nursery:
            ends[1].send(ChildStarted(42))
            await door.start_child({}, {})
            nursery.start_soon(door.stop_child, 1)
            start, stop = await _receive(ends[1], 2)
            assert isinstance(start.message, StartChild)
            assert stop.message == StopChild(1)
            ends[1].send(ChildEnded(-15))

    trio.run(main)


def test_news_posted_at_the_very_end_still_arrives(ends):
    async def main():
        async with open_door(ends[0]) as door:
            door.report(Event("restored", "the original is back"))
            door.post(Ended())

    trio.run(main)
    arrivals: list[Arrival] = []
    while (more := ends[1].receive()) is not None:
        arrivals += more
    assert [type(arrival.message) for arrival in arrivals] == [News, Ended]


def test_a_question_waits_for_its_yes(ends):
    async def main():
        async with open_door(ends[0]) as door, trio.open_nursery() as nursery:
            nursery.start_soon(door.confirm, "really?", "no terminal")
            (arrival,) = await _receive(ends[1], 1)
            assert arrival.message == Confirm("really?", "no terminal")
            ends[1].send(Confirmed())

    trio.run(main)


def test_a_question_answered_by_stop_ends_the_session(ends):
    async def main():
        async with open_door(ends[0]) as door:
            ends[1].send(Stop("not confirmed"))
            with pytest.raises(CliGone, match="not confirmed"):
                await door.confirm("really?", "no terminal")

    trio.run(main)
