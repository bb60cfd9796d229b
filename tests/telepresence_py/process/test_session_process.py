"""The session process is nobody's job: own session, no signal blocked, its words in a private log."""

from __future__ import annotations

import os
import signal
import sys
import time

from telepresence_py.model.errors import InternalError, SessionLost
from telepresence_py.process.job import SignalInbox
from telepresence_py.process.session_process import SessionProcess, start_session_process

TELLING = """
import json, os, re, socket, sys
status = open("/proc/self/status").read()
facts = {
    "leads a session": os.getsid(0) == os.getpid(),
    "blocked": re.search(r"SigBlk:\\s*(\\w+)", status)[1],
    "stdin": os.readlink("/proc/self/fd/0"),
    "descriptors": sorted(int(name) for name in os.listdir("/proc/self/fd"))[:3],
}
print("a line", flush=True)
event = {"name": "facts", "level": "step", "data": facts, "text": ""}
line = json.dumps({"is": "event", "event": event}) + "\\n"
socket.socket(fileno=int(sys.argv[1])).sendall(line.encode())
"""


def start(directory, code: str) -> SessionProcess:
    return start_session_process(directory, (sys.executable, "-I", "-c", code))


def test_it_leads_a_session_and_has_nothing_blocked(tmp_path):
    with SignalInbox():
        session = start(tmp_path, TELLING)
        (arrival,) = session.door.receive() or []
        os.waitpid(session.pid, 0)
    facts = arrival.message.event.data
    assert facts["leads a session"]
    assert int(facts["blocked"], 16) == 0
    assert facts["stdin"] == "/dev/null"
    assert session.log.read_text() == "a line\n"
    assert session.log.stat().st_mode & 0o777 == 0o600
    session.forget()
    assert not session.log.exists()
    session.door.close()


def test_a_process_that_was_killed_is_a_lost_session(tmp_path):
    session = start(tmp_path, "import os; os.kill(os.getpid(), 9)")
    assert session.door.receive() is None
    error = session.verdict()
    assert isinstance(error, SessionLost)
    assert signal.SIGKILL.name in error.sentence
    session.door.close()


def test_a_process_that_failed_is_told_with_the_end_of_its_log(tmp_path):
    session = start(tmp_path, "raise SystemExit('it broke')")
    assert session.door.receive() is None
    error = session.verdict()
    assert isinstance(error, InternalError)
    assert error.sentence.endswith("\n  | it broke")
    session.door.close()


def test_logs_of_last_week_are_removed(tmp_path):
    old, new = tmp_path / "session-1-a.log", tmp_path / "session-2-b.log"
    for path in (old, new):
        path.touch()
    os.utime(old, (0, time.time() - 8 * 24 * 3600))
    session = start(tmp_path, "")
    session.door.receive()
    session.verdict()
    session.door.close()
    assert not old.exists()
    assert new.exists()
