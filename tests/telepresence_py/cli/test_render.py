"""How news look on a terminal and elsewhere."""

from __future__ import annotations

import io

import pytest

from telepresence_py.cli import render
from telepresence_py.cli.render import Screen, Wanted
from telepresence_py.model.errors import PreconditionFailed
from telepresence_py.model.events import Event, Level

STEP = Event("created", "created pod orders-tp-0")
DETAIL = Event("dialled", "dialled", Level.DETAIL)
WARNING = Event("udp", "port 53/UDP is not served", Level.WARNING)


class FakeTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _terminal_type(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")


def shown(stream: io.StringIO, wanted: Wanted, *events: Event) -> str:
    with Screen(stream, wanted) as screen:
        for event in events:
            screen.report(event)
    return stream.getvalue()


def test_elsewhere_each_event_is_a_plain_line():
    assert shown(io.StringIO(), Wanted(), STEP, DETAIL, WARNING) == (
        "telepresence-py: created pod orders-tp-0\ntelepresence-py: port 53/UDP is not served\n"
    )


def test_a_step_takes_the_place_of_the_one_before_on_a_terminal():
    text = shown(FakeTerminal(), Wanted(), STEP, STEP)
    assert text.count("\r\x1b[K") == 2
    assert text.count("\n") == 1  # the last one stays


def test_a_warning_takes_the_live_lines_place_and_stays():
    text = shown(FakeTerminal(), Wanted(), STEP, WARNING)
    assert text.endswith("\r\x1b[K\x1b[33mtelepresence-py: port 53/UDP is not served\x1b[0m\r\n")


def test_while_the_child_runs_only_whole_lines_are_written():
    stream = FakeTerminal()
    with Screen(stream, Wanted()) as screen:
        screen.report(STEP)
        screen.child_begins()
        assert stream.getvalue().endswith("\n")
        before = len(stream.getvalue())
        screen.report(STEP)
        assert stream.getvalue().endswith("\r\n")
        assert "\x1b[K" not in stream.getvalue()[before:]


def test_the_end_of_what_the_child_wrote_is_not_cleared_away(monkeypatch):
    monkeypatch.setattr(render, "_width", lambda: 10)
    stream = FakeTerminal()
    with Screen(stream, Wanted()) as screen:
        screen.child_begins()
        stream.write("no end")
        screen.child_ended()
        screen.report(STEP)
        screen.report(STEP)
    first, second = stream.getvalue().split("\x1b[2m")[:2]
    assert first == f"no end{' ' * 10}\r"
    assert second.endswith("\r\x1b[K")


def test_verbose_shows_details_with_times():
    assert "s] dialled" in shown(io.StringIO(), Wanted(verbose=True), DETAIL)


def test_quiet_leaves_warnings_and_errors():
    stream = io.StringIO()
    with Screen(stream, Wanted(quiet=True)) as screen:
        screen.report(STEP)
        screen.report(WARNING)
        screen.ask("Go on?")
    assert stream.getvalue() == ("telepresence-py: port 53/UDP is not served\ntelepresence-py: Go on? [y/N] ")


def test_a_dumb_terminal_gets_plain_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert shown(FakeTerminal(), Wanted(), STEP) == "telepresence-py: created pod orders-tp-0\n"


def test_the_log_file_gets_what_the_screen_does_not_and_grows(tmp_path):
    log = tmp_path / "log"
    for _ in range(2):
        shown(io.StringIO(), Wanted(quiet=True, log_file=str(log)), DETAIL)
    lines = log.read_text().splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == ["detail  dialled: dialled"] * 2


def test_the_log_file_gets_the_error_that_ended_the_run(tmp_path):
    log = tmp_path / "log"
    with pytest.raises(PreconditionFailed), Screen(io.StringIO(), Wanted(log_file=str(log))):
        raise PreconditionFailed("no room")
    assert log.read_text().endswith("failed: no room\n")


def test_a_log_file_in_no_directory_is_a_precondition():
    with (
        pytest.raises(PreconditionFailed, match="--log-file"),
        Screen(io.StringIO(), Wanted(log_file="/no/where")),
    ):
        pass


def test_a_terminal_that_hung_up_does_not_end_the_session():
    class HungUp(io.StringIO):
        def write(self, _text: str) -> int:
            raise OSError(5, "Input/output error")

    assert shown(HungUp(), Wanted(), STEP, WARNING) == ""
