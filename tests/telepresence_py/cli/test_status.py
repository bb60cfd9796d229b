"""What `status` says of sessions that answer, that do not, and of none. They are sockets of this process."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from telepresence_py.cli.status import show_status, size
from telepresence_py.model.errors import NamedObjectMissing
from telepresence_py.model.records import SessionRecord
from telepresence_py.model.status import LinkStatus, PodStatus, SessionStatus
from telepresence_py.process.records import process_start, runtime_directory, write_record

RECORD = SessionRecord(
    "s-1",
    "deployment/orders",
    "shop",
    "dev",
    "2026-11-28T23:00:00Z",
    os.getpid(),
    process_start(os.getpid()) or 0,
)
LINK = LinkStatus("down", 12.34, 3.21, 0.5, 2, 7, 5 << 20, 900)
STATUS = SessionStatus(
    "s-1", "deployment/orders", "shop", "dev", RECORD.since, RECORD.pid, (PodStatus("orders-tp-0", LINK),)
)


@pytest.fixture(autouse=True)
def _own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@contextmanager
def answering(answer: bytes) -> Iterator[None]:
    place = runtime_directory() / "s-1.sock"
    with socket.socket(socket.AF_UNIX) as entrance:
        entrance.bind(str(place))
        entrance.listen()

        def serve() -> None:
            visitor, _ = entrance.accept()
            with visitor:
                assert visitor.recv(100) == b"status\n"
                visitor.sendall(answer)

        server = threading.Thread(target=serve)
        server.start()
        write_record(runtime_directory(), replace(RECORD, socket=str(place)))
        yield
        server.join(10)


def test_a_session_s_link_is_told_pod_by_pod(capsys: pytest.CaptureFixture[str]) -> None:
    with answering(STATUS.to_json() + b"\n"):
        show_status("s-1", as_json=False, watch=False)
    row = capsys.readouterr().out.splitlines()[2].split()
    assert row[:5] == ["s-1", "deployment/orders", "shop", "orders-tp-0", "down"]
    assert row[5:] == ["12.3", "ms", "3.2", "s", "0.5", "s", "2", "7", "5.0", "MiB", "900", "B"]


def test_json_is_what_the_session_said(capsys: pytest.CaptureFixture[str]) -> None:
    with answering(STATUS.to_json() + b"\n"):
        show_status(None, as_json=True, watch=False)
    assert json.loads(capsys.readouterr().out) == [json.loads(STATUS.to_json())]


@pytest.mark.parametrize("answer", [b"", b"what?\n"])
def test_one_that_does_not_answer_is_shown_without_figures(
    answer: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(answer):
        show_status(None, as_json=False, watch=False)
    assert "starting" in capsys.readouterr().out.splitlines()[2]


def test_one_without_a_socket_is_shown_too(capsys: pytest.CaptureFixture[str]) -> None:
    write_record(runtime_directory(), RECORD)
    show_status(None, as_json=True, watch=False)
    assert json.loads(capsys.readouterr().out)[0]["pods"] is None


def test_no_session_is_no_error_but_one_that_is_named_must_be_there(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_status(None, as_json=False, watch=False)
    assert capsys.readouterr().out == "Sessions on this machine: none\n"
    write_record(runtime_directory(), RECORD)
    with pytest.raises(NamedObjectMissing, match='no session s-2 on this machine; did you mean "s-1"'):
        show_status("s-2", as_json=False, watch=False)


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB")]
)
def test_sizes_are_told_as_people_read_them(count: int, words: str) -> None:
    assert size(count) == words
