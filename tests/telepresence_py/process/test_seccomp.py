"""Filters that ask, and what becomes of each call: with real filters, in processes of their own."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from telepresence_py.forward.proxy_words import Asking
from telepresence_py.model.errors import PreconditionFailed
from telepresence_py.process import child, handing_over
from telepresence_py.process.call_words import (
    SOCKS_ANSWER_BYTES,
    Address,
    Doors,
    Fail,
    GoOn,
    Kind,
    ToNames,
    ToPod,
    child_filter,
    on_connect,
    on_send,
    read_address,
    socks_errno,
    socks_request,
)
from telepresence_py.process.child import ChildSpec, start_child
from telepresence_py.process.handing_over import try_out
from telepresence_py.process.seccomp import MACHINES

DOORS = Doors(
    "secret", {"4": 1}, {"4": 2}, {"4": 3}, "10.96.0.10", ("127.0.0.53", "10.1.1.1"), ("4",), ("/run/nscd",)
)
TCP, UDP = Kind.STREAM, Kind.DATAGRAM
UNREACHABLE = Fail(errno.ENETUNREACH)


def at(ip: str, port: int) -> Address:
    from ipaddress import ip_address

    return Address(ip_address(ip), port)


@pytest.mark.parametrize(
    ("where", "kind", "verdict"),
    [
        (at("10.9.9.9", 80), TCP, ToPod("10.9.9.9", 80)),
        (at("127.0.0.1", 80), TCP, GoOn()),
        (at("0.0.0.0", 80), TCP, GoOn()),
        (at("fd00::1", 80), TCP, UNREACHABLE),
        (at("127.0.0.53", 53), TCP, ToPod("10.96.0.10", 53)),
        (at("8.8.8.8", 53), TCP, ToPod("8.8.8.8", 53)),
        (at("127.0.0.53", 53), UDP, ToNames()),
        (at("10.1.1.1", 53), UDP, ToNames()),
        (at("10.96.0.10", 53), UDP, ToNames()),
        (at("8.8.8.8", 53), UDP, UNREACHABLE),
        (at("127.0.0.1", 53), UDP, GoOn()),
        (at("10.9.9.9", 5000), UDP, UNREACHABLE),
        (at("10.9.9.9", 0), Kind.OTHER, UNREACHABLE),
        ("/run/nscd/socket", Kind.OTHER, Fail(errno.ECONNREFUSED)),
        ("/var/run/nscd/socket", Kind.OTHER, Fail(errno.ECONNREFUSED)),
        ("/run/nscd.socket", Kind.OTHER, GoOn()),
        (None, Kind.OTHER, GoOn()),
    ],
)
def test_where_a_connection_leads(where: Any, kind: Kind, verdict: object) -> None:
    assert on_connect(where, kind, DOORS) == verdict


@pytest.mark.parametrize(
    ("where", "kind", "is_first", "verdict"),
    [
        (at("10.9.9.9", 5000), UDP, False, UNREACHABLE),
        (at("127.0.0.1", 5000), UDP, False, GoOn()),
        (at("127.0.0.53", 53), UDP, False, UNREACHABLE),
        (at("10.9.9.9", 80), TCP, False, GoOn()),
        (at("10.9.9.9", 80), TCP, True, Fail(errno.EOPNOTSUPP)),
        (at("127.0.0.1", 80), TCP, True, GoOn()),
        ("/run/socket", Kind.OTHER, False, GoOn()),
    ],
)
def test_where_a_message_with_an_address_leads(
    where: Any, kind: Kind, is_first: bool, verdict: object
) -> None:
    assert on_send(where, kind, is_first, DOORS) == verdict


def test_addresses_are_read_as_the_kernel_reads_them() -> None:
    v4 = socket.AF_INET.to_bytes(2, sys.byteorder) + b"\x00\x50" + bytes([10, 9, 9, 9]) + bytes(8)
    mapped = socket.AF_INET6.to_bytes(2, sys.byteorder) + b"\x00\x50" + bytes(4)
    mapped += socket.inet_pton(socket.AF_INET6, "::ffff:10.9.9.9") + bytes(4)
    path = socket.AF_UNIX.to_bytes(2, sys.byteorder) + b"/run/x\0rubbish"
    assert read_address(v4) == read_address(mapped) == at("10.9.9.9", 80)
    assert read_address(path) == "/run/x"
    for other in (b"", b"\x00", v4[:7], mapped[:20], bytes(16)):
        assert read_address(other) is None


def test_the_doors_survive_the_way_to_the_cli() -> None:
    decoded = Doors.decode(DOORS.encode())
    assert decoded.encode() == DOORS.encode()
    assert on_connect(at("10.1.1.1", 53), UDP, decoded) == ToNames()


@pytest.mark.parametrize("host", ["10.9.9.9", "fd00::1"])
def test_the_proxy_understands_what_it_is_asked_and_its_answers_are_understood(host: str) -> None:
    asking = Asking("secret")
    answered = asking.feed(socks_request(host, 5432, "secret"))
    assert asking.request is not None
    assert (asking.request.host, asking.request.port, asking.request.first) == (host, 5432, b"")
    for number in (0, errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ETIMEDOUT):
        whole = answered + asking.request.answer(number)
        assert len(whole) == SOCKS_ANSWER_BYTES
        assert socks_errno(whole) == number
    assert socks_errno(b"") == errno.ECONNREFUSED


@pytest.mark.parametrize("machine", MACHINES)
def test_a_filter_has_no_jump_out_of_itself(machine: str) -> None:
    """The kernel tells that of its own alone."""
    steps = child_filter(MACHINES[machine])
    ends = [number for number, step in enumerate(steps) if step.code == 0x06]
    assert ends[-1] == len(steps) - 1
    for number, step in enumerate(steps):
        assert number + 1 + max(step.if_so, step.else_) < len(steps) or step.code == 0x06


def test_this_machine_can_do_it_all() -> None:
    try_out()


def test_where_another_filter_asks_already_that_is_told() -> None:
    pid = os.fork()
    if pid == 0:
        try:
            handing = handing_over.HandingOver(DOORS)
            handing.install()
            with suppress(OSError):
                try_out()
                os._exit(1)
            os._exit(0)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


class Door:
    """A proxy's stand-in: answers what it is told to, then says who it is and what it was asked."""

    def __init__(self, code: int, holds: threading.Event) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.asked: list[bytes] = []
        self.was_asked = threading.Event()
        self._code = code
        self._holds = holds
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def ports(self) -> dict[str, int]:
        return {"4": self.listener.getsockname()[1]}

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._answer, args=(self.listener.accept()[0],), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):  # the child may be killed meanwhile
            self.asked.append(connection.recv(1000))
            self.was_asked.set()
            self._holds.wait(10)
            connection.sendall(b"\x05\x02\x01\x00\x05" + bytes([self._code, 0, 1]) + bytes(6))
            if not self._code:
                connection.sendall(b"far")


@contextmanager
def doors(code: int = 0, holds: bool = False) -> Iterator[tuple[int, Door, Door, threading.Event]]:
    """The file of doors, the truthful one (which answers only once the event is set, if it `holds`), the fast
    one, and the event."""
    event = threading.Event()
    if not holds:
        event.set()
    ready = threading.Event()
    ready.set()
    truthful, fast = Door(code, event), Door(0, ready)
    names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    names.bind(("127.0.0.1", 0))
    told = Doors(
        "secret",
        truthful.ports,
        fast.ports,
        {"4": names.getsockname()[1]},
        "10.96.0.10",
        ("10.1.1.1",),
        ("4",),
    )
    descriptor = os.memfd_create("doors")
    os.write(descriptor, told.encode())
    try:
        yield descriptor, truthful, fast, event
    finally:
        os.close(descriptor)
        for each in (truthful.listener, fast.listener, names):
            each.close()


def started(descriptor: int, program: str, out: Path) -> child.Child:
    words = (sys.executable, "-c", f"import json, socket, sys\nout = open({str(out)!r}, 'w')\n{program}")
    return start_child(ChildSpec(words, dict(os.environ), "/", {"calls": descriptor}))


def result(descriptor: int, program: str, out: Path) -> Any:
    running = started(descriptor, program, out)
    assert os.waitstatus_to_exitcode(os.waitpid(running.pid, 0)[1]) == 0
    return json.loads(out.read_text())


def test_a_connect_that_waits_is_told_what_the_proxy_was(tmp_path: Path) -> None:
    program = (
        "s = socket.socket()\nfailed = s.connect_ex(('10.9.9.9', 80))\n"
        "json.dump([failed, '' if failed else s.recv(9).decode()], out)"
    )
    with doors() as (descriptor, truthful, fast, _event):
        assert result(descriptor, program, tmp_path / "out") == [0, "far"]
        assert truthful.asked == [socks_request("10.9.9.9", 80, "secret")]
        assert fast.asked == []
    with doors(code=5) as (descriptor, *_rest):
        assert result(descriptor, program, tmp_path / "out") == [errno.ECONNREFUSED, ""]


def test_a_connect_that_does_not_wait_takes_the_fast_door(tmp_path: Path) -> None:
    program = (
        "s = socket.socket(); s.setblocking(False)\nfailed = s.connect_ex(('10.9.9.9', 80))\n"
        "s.settimeout(9)\njson.dump([failed, s.recv(9).decode()], out)"
    )
    with doors(code=5) as (descriptor, truthful, fast, _event):
        assert result(descriptor, program, tmp_path / "out") == [0, "far"]
        assert truthful.asked == []
        assert len(fast.asked) == 1


def test_a_socket_that_was_refused_may_try_again(tmp_path: Path) -> None:
    program = (
        "s = socket.socket()\n"
        "json.dump([s.connect_ex(('10.9.9.9', 80)), s.connect_ex(('10.9.9.9', 81))], out)"
    )
    with doors(code=5) as (descriptor, *_rest):
        assert result(descriptor, program, tmp_path / "out") == [errno.ECONNREFUSED] * 2


def test_who_waits_for_the_far_side_keeps_nobody_else_waiting(tmp_path: Path) -> None:
    program = (
        "import threading\n"
        "slow = socket.socket()\nthread = threading.Thread(target=slow.connect, args=(('10.9.9.9', 80),))\n"
        "thread.start()\nfast = socket.socket(); fast.setblocking(False)\n"
        "json.dump(fast.connect_ex(('10.9.9.9', 81)), out); out.flush()\nthread.join()"
    )
    with doors(holds=True) as (descriptor, _truthful, fast, event):
        running = started(descriptor, program, tmp_path / "out")
        assert fast.was_asked.wait(20)
        event.set()
        assert os.waitstatus_to_exitcode(os.waitpid(running.pid, 0)[1]) == 0
    assert json.loads((tmp_path / "out").read_text()) == 0


def test_who_is_killed_while_it_waits_is_gone_at_once(tmp_path: Path) -> None:
    with doors(holds=True) as (descriptor, truthful, _fast, _event):
        running = started(descriptor, "socket.socket().connect(('10.9.9.9', 80))", tmp_path / "out")
        assert truthful.was_asked.wait(20)
        running.send(signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(running.pid, 0)[1]) == -signal.SIGKILL


def test_datagrams_messages_and_another_kind_of_socket_do_not_slip_by(tmp_path: Path) -> None:
    program = (
        "u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "def failing(call, *words):\n"
        "    try:\n        call(*words)\n    except OSError as error:\n        return error.errno\n"
        "pair = socket.socketpair()\n"
        "json.dump([failing(u.connect, ('10.9.9.9', 5000)), failing(u.sendto, b'x', ('10.9.9.9', 5000)),\n"
        "    failing(u.sendmsg, [b'x'], [], 0, ('10.9.9.9', 5000)), failing(u.connect, ('10.1.1.1', 53)),\n"
        "    failing(socket.socket(socket.AF_INET6).connect, ('fd00::1', 80)),\n"
        "    failing(pair[0].sendmsg, [b'x'])], out)"
    )
    unreachable = errno.ENETUNREACH
    with doors() as (descriptor, *_rest):
        assert result(descriptor, program, tmp_path / "out") == [unreachable] * 3 + [None, unreachable, None]


def test_where_the_listener_cannot_be_taken_the_child_does_not_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_pid: int, _descriptor: int) -> int:
        raise PermissionError(errno.EPERM, "pidfd_getfd: Operation not permitted")

    monkeypatch.setattr(handing_over, "borrow", refused)
    with doors() as (descriptor, *_rest), pytest.raises(PreconditionFailed, match="pidfd_getfd"):
        started(descriptor, "out.write('began')", tmp_path / "out")
    assert not (tmp_path / "out").exists()
