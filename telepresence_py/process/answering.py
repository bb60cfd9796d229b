"""Answers the network calls of a child that seccomp asks us about, in a thread of the process whose child it
is: reading its memory and having its sockets is for ancestors alone on many machines (Yama).

No security boundary: a child with threads could change an address after we have read it, and would then reach
what the laptop's user reaches anyway.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from telepresence_py.process.call_words import (
    MOST_ADDRESS_BYTES,
    SOCKS_ANSWER_BYTES,
    Address,
    Doors,
    Fail,
    GoOn,
    Kind,
    ToPod,
    Verdict,
    kind_of,
    on_connect,
    on_send,
    read_address,
    socks_errno,
    socks_request,
)
from telepresence_py.process.seccomp import Question, is_valid, let_go_on, machine, receive, return_value

_MSG_FASTOPEN = 0x2000_0000
_PIDFD_GETFD = 438
_MESSAGE_HEADER, _MESSAGE_STRIDE, _MOST_MESSAGES = 56, 64, 1024
_DOOR_SECONDS = 10.0
_LOOK_AGAIN_SECONDS = 1.0
_libc = ctypes.CDLL(None, use_errno=True)


class Gone(Exception):
    """Who asked waits no longer."""


def borrow(pid: int, descriptor: int) -> int:
    """A descriptor of ours for one of that process's (pidfd_getfd(2)); OSError."""
    process = os.pidfd_open(pid)
    try:
        number, word = ctypes.c_long(_PIDFD_GETFD), ctypes.c_int
        made = int(_libc.syscall(number, word(process), word(descriptor), ctypes.c_uint(0)))
    finally:
        os.close(process)
    if made < 0:
        raise OSError(ctypes.get_errno(), f"pidfd_getfd: {os.strerror(ctypes.get_errno())}")
    return made


def start_answering(listener: int, doors: Doors) -> None:
    """From now on in a thread of its own, until nobody is left who could ask. Takes the listener over."""
    threading.Thread(target=_Answering(listener, doors).run, name="answering", daemon=True).start()


class _Answering:
    def __init__(self, listener: int, doors: Doors) -> None:
        self._listener = listener
        self._doors = doors
        self._calls = machine()

    def run(self) -> None:
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        while not poll.poll()[0][1] & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
            question = receive(self._listener)
            if question is not None:
                self._take(question)
        os.close(self._listener)

    def _take(self, question: Question) -> None:
        try:
            verdict, made = self._judge(question)
        except Gone:
            return
        except OSError as error:
            return_value(self._listener, question, -(error.errno or errno.EACCES))
            return
        if isinstance(verdict, GoOn | Fail) or made is None:
            if made is not None:
                made.close()
            if isinstance(verdict, Fail):
                return_value(self._listener, question, -verdict.errno)
            else:
                let_go_on(self._listener, question)
        elif isinstance(verdict, ToPod) and not _is_non_blocking(made):
            # the child's thread waits for the far side, and other threads and processes must not
            thread = threading.Thread(target=self._finish, args=(question, verdict, made), daemon=True)
            thread.start()
        else:
            self._finish(question, verdict, made)

    def _finish(self, question: Question, verdict: Verdict, made: socket.socket) -> None:
        with made:
            try:
                if isinstance(verdict, ToPod):
                    self._to_pod(question, verdict, made)
                    result = 0
                else:
                    result = -made.connect_ex(_door(made, self._doors.names))
            except Gone:
                return
            except OSError as error:
                result = -(error.errno or errno.EHOSTUNREACH)
        return_value(self._listener, question, result)

    # what is asked

    def _judge(self, question: Question) -> tuple[Verdict, socket.socket | None]:
        """With the child's socket, if it matters."""
        calls, arguments = self._calls, question.arguments
        if question.number == calls.connect:
            where = self._read_address(question, arguments[1], arguments[2])
            if not isinstance(where, Address):
                return on_connect(where, Kind.OTHER, self._doors), None
            made = self._socket(question)
            return on_connect(where, kind_of(made), self._doors), made
        if question.number == calls.sendto:
            targets, flags = [self._read_address(question, arguments[4], arguments[5])], arguments[3]
        elif question.number == calls.sendmsg:
            targets, flags = [self._message_address(question, arguments[1])], arguments[2]
        else:
            count, flags = min(arguments[2] & 0xFFFF_FFFF, _MOST_MESSAGES), arguments[3]
            starts = (arguments[1] + _MESSAGE_STRIDE * number for number in range(count))
            targets = [self._message_address(question, start) for start in starts]
        return self._judge_messages(question, targets, bool(flags & _MSG_FASTOPEN))

    def _judge_messages(
        self, question: Question, targets: list[Address | str | None], is_first: bool
    ) -> tuple[Verdict, socket.socket | None]:
        targets = [each for each in targets if isinstance(each, Address)]
        if not targets:
            return GoOn(), None
        made = self._socket(question)
        verdicts = (on_send(each, kind_of(made), is_first, self._doors) for each in targets)
        return next((each for each in verdicts if isinstance(each, Fail)), GoOn()), made

    def _message_address(self, question: Question, start: int) -> Address | str | None:
        header = self._read(question, start, _MESSAGE_HEADER)
        pointer, size = struct.unpack_from("=QI", header)
        return self._read_address(question, pointer, size) if pointer else None

    def _read_address(self, question: Question, pointer: int, size: int) -> Address | str | None:
        size &= 0xFFFF_FFFF
        if not pointer or not size:
            return None
        return read_address(self._read(question, pointer, min(size, MOST_ADDRESS_BYTES)))

    def _read(self, question: Question, start: int, size: int) -> bytes:
        """Of the memory of who asks; Gone when that is somebody else by now."""
        try:
            memory = os.open(f"/proc/{question.thread}/mem", os.O_RDONLY | os.O_CLOEXEC)
            try:
                data = os.pread(memory, size, start)
            finally:
                os.close(memory)
        except FileNotFoundError:
            raise Gone from None
        except OSError as error:
            if error.errno in (errno.EIO, errno.EOVERFLOW):
                raise OSError(errno.EFAULT, os.strerror(errno.EFAULT)) from error
            raise
        self._require_valid(question)
        return data

    def _socket(self, question: Question) -> socket.socket:
        try:
            status = Path(f"/proc/{question.thread}/status").read_text(errors="replace")
            process = int(status.partition("\nTgid:")[2].split()[0])
            descriptor = borrow(process, question.arguments[0] & 0x7FFF_FFFF)
        except (FileNotFoundError, ProcessLookupError):
            raise Gone from None
        try:
            self._require_valid(question)
            return socket.socket(fileno=descriptor)
        except BaseException:
            os.close(descriptor)
            raise

    def _require_valid(self, question: Question) -> None:
        if not is_valid(self._listener, question):
            raise Gone

    # what is done

    def _to_pod(self, question: Question, verdict: ToPod, made: socket.socket) -> None:
        """Connect the child's own socket; OSError with what connect() shall fail with."""
        doors = self._doors.fast if _is_non_blocking(made) else self._doors.truthful
        failed = made.connect_ex(_door(made, doors))
        if failed not in (0, errno.EINPROGRESS):
            raise OSError(failed, os.strerror(failed))
        self._wait(question, made, select.POLLOUT, _DOOR_SECONDS)
        if failed := made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(failed, os.strerror(failed))
        made.send(socks_request(verdict.host, verdict.port, self._doors.secret))
        answered = b""
        while len(answered) < SOCKS_ANSWER_BYTES:
            self._wait(question, made, select.POLLIN)
            more = made.recv(SOCKS_ANSWER_BYTES - len(answered))
            if not more:
                break
            answered += more
        if failed := socks_errno(answered):
            _disconnect(made)
            raise OSError(failed, os.strerror(failed))

    def _wait(
        self, question: Question, made: socket.socket, event: int, seconds: float | None = None
    ) -> None:
        deadline = None if seconds is None else time.monotonic() + seconds
        poll = select.poll()
        poll.register(made, event)
        while not poll.poll(_LOOK_AGAIN_SECONDS * 1000):
            if not is_valid(self._listener, question):
                _disconnect(made)
                raise Gone
            if deadline is not None and time.monotonic() > deadline:
                raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))


def _door(made: socket.socket, ports: Mapping[str, int]) -> tuple[str, int]:
    if made.family == socket.AF_INET:
        return "127.0.0.1", ports["4"]
    if "6" in ports:
        return "::1", ports["6"]
    return "::ffff:127.0.0.1", ports["4"]


def _is_non_blocking(made: socket.socket) -> bool:
    return bool(fcntl.fcntl(made, fcntl.F_GETFL) & os.O_NONBLOCK)


def _disconnect(made: socket.socket) -> None:
    """Whoever tries again with this socket finds it unconnected (connect(2), AF_UNSPEC)."""
    _libc.connect(
        ctypes.c_int(made.fileno()), struct.pack("=H", socket.AF_UNSPEC) + bytes(14), ctypes.c_uint(16)
    )
