"""The messages survive the door, and nothing else passes it."""

from __future__ import annotations

import pytest

from telepresence_py.model.door import (
    ChildEnded,
    ChildStarted,
    Confirm,
    Confirmed,
    ContainerBinds,
    DoorError,
    Ended,
    Failed,
    Foretold,
    Lines,
    News,
    Run,
    StartChild,
    Stop,
    StopChild,
    Swap,
    decode_from_cli,
    decode_from_session,
    encode,
)
from telepresence_py.model.errors import InternalError, WorkloadHeld
from telepresence_py.model.events import Event, Level
from telepresence_py.model.intent import ClusterChoice, Model, PortOverride, RunIntent, SwapIntent
from telepresence_py.model.preview import Change, Preview

INTENT = SwapIntent(
    cluster=ClusterChoice(context="dev"),
    kind="deployment",
    name="orders",
    container=None,
    ports=(PortOverride(1, 2),),
    command=("sh", "-c", "x"),
    holder="me@here",
)
RUN = RunIntent(
    cluster=ClusterChoice(),
    name=None,
    model=Model("job", "migrate"),
    service_account=None,
    exposed=(PortOverride(1, 2),),
    command=("sh",),
    holder="me@here",
)


@pytest.mark.parametrize(
    "message", [Swap(INTENT), Run(RUN), Confirmed(), ChildStarted(7), ChildEnded(-9), Stop("SIGTERM")]
)
def test_what_the_cli_says_is_understood(message):
    line = encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode_from_cli(line) == message


@pytest.mark.parametrize(
    "message",
    [
        News(Event("in-place", "the originals are gone", Level.NOTICE, {"replicas": 3})),
        Confirm("Go on?", "nobody can be asked"),
        Foretold(Preview("run", "run/api", "shop", "dev", (Change("create", "delete"),), ({"a": [1]},))),
        StartChild({"A": "line\nline", "RAW": "\udcff"}, ("user", "net")),
        StartChild({}, ("user",), ContainerBinds(7, (("/run/c/data", "/data", False),))),
        StartChild({}, (), ContainerBinds(7, (), "helper", "unix:///run/docker.sock")),
        StopChild(2.5),
        Ended(),
        Failed("WorkloadHeld", "held", "trace"),
    ],
)
def test_what_the_session_says_is_understood(message):
    line = encode(message)
    assert line.isascii()
    assert line.count(b"\n") == 1
    assert decode_from_session(line) == message


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"x",
        b"[]",
        b"{}",
        b'"is"',
        b'{"is": "unheard-of"}',
        b'{"is": "ended", "more": 1}',
        b'{"is": "start-child"}',
        b'{"is": "event", "event": {"level": "loud"}}',
        b'{"do": "stop", "reason": "x"}',
    ],
)
def test_what_is_no_message_of_the_session_is_refused(line):
    with pytest.raises(DoorError):
        decode_from_session(line)


def test_a_refused_line_is_not_quoted_as_it_may_hold_secrets():
    with pytest.raises(DoorError) as refused:
        decode_from_session(b'{"is": "start-child", "environment": {"PASSWORD": "hunter2"}, "more": 1}')
    assert "hunter2" not in str(refused.value)


def test_an_environment_is_not_shown_by_its_message():
    assert "hunter2" not in repr(StartChild({"PASSWORD": "hunter2"}))


def test_an_error_keeps_its_class_and_sentence():
    error = Failed.of(WorkloadHeld("held by ann")).to_error()
    assert (type(error), error.sentence) == (WorkloadHeld, "held by ann")


def test_an_error_of_another_version_is_an_internal_one():
    assert type(Failed("Unheard", "what?").to_error()) is InternalError


def test_lines_are_cut_wherever_the_stream_is():
    lines = Lines()
    assert lines.feed(b"a") == []
    assert lines.feed(b"b\nc\nd") == [b"ab", b"c"]
    assert lines.feed(b"\n") == [b"d"]
