"""The story of a session on the CLI's side: ask the session process, become a job's parent, return its code.

preparing    the session reads, plans, creates; a signal now asks it to undo that: nothing ran yet
running      a child has the terminal; the CLI forwards what was sent to it alone. With --keep or --restart
             one may have ended and another follow
restoring    the last child ended; the CLI waits until all is as it was, and returns the child's code
"""

from __future__ import annotations

import os
import selectors
import signal
import sys
from contextlib import closing

from telepresence_py.cli.again import ONCE, Again
from telepresence_py.cli.children import ENDING, Children
from telepresence_py.cli.plugins import PluginDesk
from telepresence_py.cli.render import Screen
from telepresence_py.model.door import (
    ChildEnded,
    ChildStarted,
    Confirm,
    Confirmed,
    DoorError,
    Ended,
    Failed,
    Foretold,
    News,
    Opening,
    PluginEnded,
    Run,
    RunPlugin,
    StartChild,
    Stop,
    StopChild,
    Swap,
)
from telepresence_py.model.errors import InternalError, PreconditionFailed, TelepresenceError
from telepresence_py.model.events import Level
from telepresence_py.model.plugin import PluginEnd
from telepresence_py.process.child import ChildSpec
from telepresence_py.process.command import check_command
from telepresence_py.process.door_socket import Arrival
from telepresence_py.process.job import SignalInbox, stop_self
from telepresence_py.process.kernel import SignalReceived
from telepresence_py.process.records import runtime_directory
from telepresence_py.process.session_process import SessionProcess, start_session_process

_LOST_GRACE_SECONDS = 5.0
_FAREWELL = {Swap: "gives the workload back", Run: "removes the pod"}
_UNDO = {Swap: "the original comes back", Run: "its pod is removed"}


def converse(opening: Opening, screen: Screen, again: Again = ONCE) -> int:
    """Hold the session that `opening` asks for, to its end.

    The exit code of the last child, minus n when signal n ended it or the preparation; 0 of a dry run.

    Raises the TelepresenceError that ended the session, or that kept the command from being executed.
    """
    for word in opening.intent.laptop_command[:1]:
        check_command(word, os.environ.get("PATH", os.defpath))
    with SignalInbox() as inbox:
        session = start_session_process(runtime_directory())
        with closing(session.door):
            return _Conversation(opening, screen, inbox, session).run(again)


class _Conversation:
    def __init__(self, opening: Opening, screen: Screen, inbox: SignalInbox, session: SessionProcess) -> None:
        self._opening = opening
        self.farewell = _FAREWELL[type(opening)]
        self._screen = screen
        self._inbox = inbox
        self._session = session
        self._selector = selectors.DefaultSelector()
        self._children: Children
        self._plugins = PluginDesk(self._selector, screen, self._plugin_ended)
        self._code: int | None = None
        self._error: TelepresenceError | None = None
        self._interrupts = 0
        self._over = False

    def run(self, again: Again) -> int:
        self._session.door.send(self._opening)
        with (
            self._selector,
            Children(again, self._screen, self._selector, self) as self._children,
            self._plugins,
        ):
            self._selector.register(self._session.door, selectors.EVENT_READ, self._on_door)
            self._selector.register(self._inbox, selectors.EVENT_READ, self._on_signals)
            while not self._over or self._children.one_lives:
                for key, _events in self._selector.select(self._patience()):
                    key.data()
                self._children.tick()
                self._plugins.look()
        if self._error is not None:
            raise self._error
        if self._code is None:
            raise InternalError("the session ended before the command was run; run again with --verbose")
        return self._code

    def _patience(self) -> float | None:
        times = (self._children.timeout(), self._plugins.seconds_left)
        return min((seconds for seconds in times if seconds is not None), default=None)

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
            case RunPlugin(call):
                self._plugins.start(call)
            case Confirm(question, refusal):
                self._ask(question, refusal)
            case Foretold(preview):
                from telepresence_py.cli.preview import show_preview  # what few sessions need

                show_preview(preview, self._screen)
                self._code = 0
            case StartChild() as request:
                self._start(request, arrival.descriptors)
            case StopChild(grace_seconds):
                self._children.end(grace_seconds)
            case Ended():
                self._session.forget()
                self._end_of_session()
            case Failed(_name, _sentence, traceback) as failed:
                error = failed.to_error()
                if traceback:
                    error.add_note(traceback)
                self._fail(error)
                self._end_of_session()

    def _plugin_ended(self, end: PluginEnd) -> None:
        self._on_signals()  # a ^C was for us as well: the session must not take it for a failed login
        self._session.door.send(PluginEnded(end))

    def _fail(self, error: TelepresenceError) -> None:
        """The session's error says more than what followed from it; the first one counts."""
        self._error = self._error or error

    def _end_of_session(self) -> None:
        self._over = True
        self._selector.unregister(self._session.door)
        self._children.end(_LOST_GRACE_SECONDS)

    # the children

    def _start(self, request: StartChild, descriptors: tuple[int, ...]) -> None:
        self._on_signals()  # a ^C from before there is a child, of which the child would never hear
        if self._code is not None or self._error is not None:  # asked to stop in the meantime
            for descriptor in descriptors:
                os.close(descriptor)
            return
        spec = ChildSpec(
            command=self._opening.intent.command,
            environment=request.environment,
            directory=_working_directory(),
            namespaces=dict(zip(request.namespaces, descriptors, strict=True)),
            signal_mask=self._inbox.caller_mask,
        )
        image = self._opening.intent.container_image
        if image is not None and request.container is not None:
            from telepresence_py.cli.container import in_container, untold  # what few sessions need

            for name in untold(spec.environment):
                self._screen.say(f"{name} has several lines, and is left out of the container", Level.WARNING)
            spec = in_container(spec, image, request.container)
        self._children.begin(spec)

    def first_child_started(self, pid: int) -> None:
        self._session.door.send(ChildStarted(pid))

    def children_over(self, status: int, error: TelepresenceError | None) -> None:
        if error is not None:
            self._fail(error)
        else:
            self._code = status
        self._session.door.send(ChildEnded(status))

    # what is sent to us

    def _on_signals(self) -> None:
        for received in self._children.take(self._inbox.read()):
            if self._code is None and self._error is None:
                self._while_preparing(received)
            else:
                self._while_restoring(received)

    def _while_preparing(self, received: SignalReceived) -> None:
        if signal.getsignal(received.number) is signal.SIG_IGN:
            return  # nohup, or a job of a script in the background
        if received.number == signal.SIGTSTP:
            stop_self(signal.SIGTSTP)
        elif received.number in ENDING:
            self._code = -received.number
            self._children.end(0)
            self._plugins.stop()
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
