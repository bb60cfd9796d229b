"""The story of a session on the CLI's side: ask the session process, become a job's parent, return its code.

preparing    the session reads, plans, creates; a signal now asks it to undo that: nothing ran yet
running      the child has the terminal; the CLI forwards what was sent to it alone
restoring    the child ended; the CLI waits until all is as it was, and returns the child's code
"""

from __future__ import annotations

import os
import selectors
import signal
import sys
import time
from contextlib import ExitStack, closing

from telepresence_py.cli.render import Screen
from telepresence_py.model.door import (
    ChildEnded,
    ChildStarted,
    Confirm,
    Confirmed,
    DoorError,
    Ended,
    Failed,
    News,
    Opening,
    Run,
    StartChild,
    Stop,
    StopChild,
    Swap,
)
from telepresence_py.model.errors import InternalError, PreconditionFailed, TelepresenceError
from telepresence_py.model.events import Level
from telepresence_py.process.child import ChildSpec
from telepresence_py.process.command import check_command
from telepresence_py.process.door_socket import Arrival
from telepresence_py.process.job import Job, SignalInbox, stop_self
from telepresence_py.process.kernel import SignalReceived
from telepresence_py.process.records import runtime_directory
from telepresence_py.process.session_process import SessionProcess, start_session_process

_ENDING = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT})
_LOST_GRACE_SECONDS = 5.0


_UNDO = {Swap: "the original comes back", Run: "its pod is removed"}


def converse(opening: Opening, screen: Screen) -> int:
    """Hold the session that `opening` asks for, to its end.

    The exit code of the child, minus n when signal n ended it or the preparation.

    Raises the TelepresenceError that ended the session, or that kept the command from being executed.
    """
    check_command(opening.intent.command[0], os.environ.get("PATH", os.defpath))
    with SignalInbox() as inbox:
        session = start_session_process(runtime_directory())
        with closing(session.door):
            return _Conversation(opening, screen, inbox, session).run()


class _Conversation:
    def __init__(self, opening: Opening, screen: Screen, inbox: SignalInbox, session: SessionProcess) -> None:
        self._opening = opening
        self._screen = screen
        self._inbox = inbox
        self._session = session
        self._selector = selectors.DefaultSelector()
        self._job: Job | None = None
        self._job_stack = ExitStack()
        self._kill_at: float | None = None
        self._code: int | None = None
        self._error: TelepresenceError | None = None
        self._interrupts = 0
        self._over = False

    def run(self) -> int:
        self._session.door.send(self._opening)
        with self._selector, self._job_stack:
            self._selector.register(self._session.door, selectors.EVENT_READ, self._on_door)
            self._selector.register(self._inbox, selectors.EVENT_READ, self._on_signals)
            while not self._over or self._job is not None:
                timeout = None if self._kill_at is None else max(0.0, self._kill_at - time.monotonic())
                for key, _events in self._selector.select(timeout):
                    key.data()
                self._kill_if_due()
        if self._error is not None:
            raise self._error
        if self._code is None:
            raise InternalError("the session ended before the command was run; run again with --verbose")
        return self._code

    # what the session says

    def _on_door(self) -> None:
        try:
            arrivals = self._session.door.receive()
        except DoorError as error:
            self._fail(InternalError(f"the session process said something that is {error}"))
            self._end_of_session()
            return
        if arrivals is None:
            if not self._over:
                self._fail(self._session.verdict())
                self._end_of_session()
            return
        for arrival in arrivals:
            self._on_message(arrival)

    def _on_message(self, arrival: Arrival) -> None:
        match arrival.message:
            case News(event):
                self._screen.report(event)
            case Confirm(question, refusal):
                self._ask(question, refusal)
            case StartChild() as request:
                self._start(request, arrival.descriptors)
            case StopChild(grace_seconds):
                self._end_child(grace_seconds)
            case Ended():
                self._session.forget()
                self._end_of_session()
            case Failed(_name, _sentence, traceback) as failed:
                error = failed.to_error()
                if traceback:
                    error.add_note(traceback)
                self._fail(error)
                self._end_of_session()

    def _fail(self, error: TelepresenceError) -> None:
        """The session's error says more than what followed from it; the first one counts."""
        self._error = self._error or error

    def _end_of_session(self) -> None:
        self._over = True
        self._selector.unregister(self._session.door)
        self._end_child(_LOST_GRACE_SECONDS)

    # the child

    def _start(self, request: StartChild, descriptors: tuple[int, ...]) -> None:
        directory = _working_directory()
        spec = ChildSpec(
            command=self._opening.intent.command,
            environment=request.environment,
            directory=directory,
            namespaces=dict(zip(request.namespaces, descriptors, strict=True)),
            signal_mask=self._inbox.caller_mask,
        )
        try:
            if self._code is not None or self._error is not None:
                return  # asked to stop in the meantime
            self._screen.child_begins()
            self._job = self._job_stack.enter_context(Job(spec))
        except TelepresenceError as error:
            self._fail(error)
            self._screen.child_ended()
            self._session.door.send(ChildEnded(error.exit_code))
            return
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        self._session.door.send(ChildStarted(self._job.child.pid))
        if self._job.child.directory != directory:
            text = f"{directory} is hidden by the pod's files; the command began in /"
            self._screen.say(text, Level.WARNING)

    def _look_after_child(self) -> None:
        if self._job is None or (status := self._job.poll()) is None:
            return
        self._job_stack.close()
        self._job, self._kill_at = None, None
        self._screen.child_ended()
        self._code = status
        self._session.door.send(ChildEnded(status))

    def _end_child(self, grace_seconds: float) -> None:
        if self._job is not None and self._kill_at is None:
            self._job.terminate(signal.SIGTERM)
            self._kill_at = time.monotonic() + grace_seconds

    def _kill_if_due(self) -> None:
        if self._job is not None and self._kill_at is not None and time.monotonic() >= self._kill_at:
            self._kill_at = None
            self._job.terminate(signal.SIGKILL)

    # what is sent to us

    def _on_signals(self) -> None:
        job = self._job
        for received in self._inbox.read():
            if received.number == signal.SIGCHLD:
                self._look_after_child()
            elif job is not None:
                job.deliver(received)  # even if it ended meanwhile: the signal was meant for it
            elif self._code is None and self._error is None:
                self._while_preparing(received)
            else:
                self._while_restoring(received)

    def _while_preparing(self, received: SignalReceived) -> None:
        if signal.getsignal(received.number) is signal.SIG_IGN:
            return  # nohup, or a job of a script in the background
        if received.number == signal.SIGTSTP:
            stop_self(signal.SIGTSTP)
        elif received.number in _ENDING:
            self._code = -received.number
            self._session.door.send(Stop(signal.Signals(received.number).name))
            if received.number == signal.SIGINT:
                self._interrupted()

    def _while_restoring(self, received: SignalReceived) -> None:
        if received.number == signal.SIGTSTP:
            stop_self(signal.SIGTSTP)
        elif received.number == signal.SIGINT:
            self._interrupted()

    def _interrupted(self) -> None:
        """The first ^C after which there is only to wait is answered, the second one ends the waiting."""
        self._interrupts += 1
        if self._interrupts == 1:
            undo = _UNDO[type(self._opening)]
            self._screen.say(f"stopping, {undo}; ^C again does not wait for it")
            return
        self._screen.say(
            f"not waiting: the session process {self._session.pid} goes on restoring; "
            "telepresence-py list tells when it is done"
        )
        self._over = True

    # protected contexts

    def _ask(self, question: str, refusal: str) -> None:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            self._refuse(refusal)
            return
        self._screen.ask(question)
        self._selector.register(0, selectors.EVENT_READ, self._on_answer)

    def _on_answer(self) -> None:
        self._selector.unregister(0)
        try:
            answer = os.read(0, 1024)
        except OSError:
            answer = b""  # in the background nobody can be asked
        if answer.strip().lower() in (b"y", b"yes"):
            self._session.door.send(Confirmed())
        else:
            self._refuse("it was not confirmed, so nothing was touched")

    def _refuse(self, sentence: str) -> None:
        self._fail(PreconditionFailed(sentence))
        self._session.door.send(Stop("not confirmed"))


def _working_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return "/"
