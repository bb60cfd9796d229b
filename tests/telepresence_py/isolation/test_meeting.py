"""Where a session and an agent meet."""

from __future__ import annotations

import os
import select
import socket
import threading
from contextlib import closing

import pytest

from telepresence_py.isolation.meeting import fetch_control, hand_control, meeting_place, pid_of_peer


def accept(listener: socket.socket) -> socket.socket:
    assert select.select([listener], [], [], 20)[0]
    return listener.accept()[0]


def test_the_agent_gets_the_very_socket_and_the_session_its_number(tmp_path):
    path = str(tmp_path / "agent")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    got: list[socket.socket] = []
    with closing(meeting_place(path)) as listener, closing(ours):
        agent = threading.Thread(target=lambda: got.append(fetch_control(path)))
        agent.start()
        with closing(accept(listener)) as connection, closing(theirs):
            assert pid_of_peer(connection) == os.getpid()
            hand_control(connection, theirs)
            agent.join()
        with closing(got[0]) as fetched:
            fetched.send(b"said")
            assert ours.recv(16) == b"said"


def test_who_ends_before_it_handed_anything_over_leaves_an_agent_that_knows(tmp_path):
    path = str(tmp_path / "agent")
    failures: list[BaseException] = []

    def agent() -> None:
        try:
            fetch_control(path)
        except (EOFError, OSError) as error:
            failures.append(error)

    with closing(meeting_place(path)) as listener:
        thread = threading.Thread(target=agent)
        thread.start()
        accept(listener).close()
        thread.join()
    agent()
    assert [type(each) for each in failures] == [EOFError, ConnectionRefusedError]


def test_another_users_end_is_refused(monkeypatch):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with closing(ours), closing(theirs):
        owner = os.getuid()
        monkeypatch.setattr(os, "getuid", lambda: owner + 1)
        with pytest.raises(PermissionError):
            pid_of_peer(ours)
