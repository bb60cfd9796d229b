"""What the CLI and its session process say to each other, as frozen messages and JSON lines. Pure.

The door is a stream socket pair (AF_UNIX). Each message is one line of ASCII JSON. The order of a swap
or a run:

    CLI                                   session process
    Swap(intent) or Run(intent)      ->
                                     <-   News(event)                 any number, at any time until the end
                                     <-   RunPlugin(call)             any number, never while the child runs
    PluginEnded(end)                 ->                               answers it, unless one of them is gone
                                     <-   Confirm(question)           at most once; answer: Confirmed or Stop
                                     <-   Foretold(preview)           instead of all that follows but Ended
                                     <-   StartChild(environment, namespaces) + one descriptor per namespace
    ChildStarted(pid)                ->                               or ChildEnded alone, when exec failed
                                     <-   StopChild(grace_seconds)    only if the session cannot go on
    ChildEnded(status)               ->
                                     <-   Ended() | Failed(error, sentence)     exactly one, the last line

`Stop` may be sent at any time instead of waiting; it is answered by `Ended` once all is restored. End of
file from the CLI means the same as `Stop`; end of file from the session process without a last line is a bug.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, ClassVar

from telepresence_py.model.errors import TelepresenceError, error_named
from telepresence_py.model.events import Event, Level
from telepresence_py.model.intent import RunIntent, SwapIntent
from telepresence_py.model.plugin import Failure, Interaction, PluginCall, PluginEnd
from telepresence_py.model.preview import Preview

Fields = dict[str, object]


@dataclass(frozen=True)
class Swap:
    """The CLI's first line: stand in for a workload."""

    tag: ClassVar[str] = "swap"
    intent: SwapIntent


@dataclass(frozen=True)
class Run:
    """The CLI's first line: run in a pod of its own."""

    tag: ClassVar[str] = "run"
    intent: RunIntent


@dataclass(frozen=True)
class Confirmed:
    """The user said yes to the question of `Confirm`."""

    tag: ClassVar[str] = "confirmed"


@dataclass(frozen=True)
class PluginEnded:
    """How the credential plugin of `RunPlugin` ended."""

    tag: ClassVar[str] = "plugin-ended"
    end: PluginEnd


@dataclass(frozen=True)
class ChildStarted:
    """The command was executed, for the first time; `pid` is the laptop's number for it.

    The CLI may start it again when it ended: the session hears nothing of that.
    """

    tag: ClassVar[str] = "child-started"
    pid: int


@dataclass(frozen=True)
class ChildEnded:
    """No child will follow. `status` is the last one's exit code 0 to 255, or minus the number of the signal
    that ended it.

    Without a `ChildStarted` before it the command could not be executed, and `status` is 126 or 127.
    """

    tag: ClassVar[str] = "child-ended"
    status: int


@dataclass(frozen=True)
class Stop:
    """Restore and end. `reason` is for the log: `SIGTERM`, `not confirmed`."""

    tag: ClassVar[str] = "stop"
    reason: str


@dataclass(frozen=True)
class News:
    tag: ClassVar[str] = "event"
    event: Event


@dataclass(frozen=True)
class Confirm:
    """A question to the user that a yes must answer before anything is touched.

    `refusal` is the sentence to say where nobody can be asked.
    """

    tag: ClassVar[str] = "confirm"
    question: str
    refusal: str


@dataclass(frozen=True)
class Foretold:
    """What the session would do; nothing was done."""

    tag: ClassVar[str] = "foretold"
    preview: Preview


@dataclass(frozen=True)
class RunPlugin:
    """Run a credential plugin on the user's terminal."""

    tag: ClassVar[str] = "run-plugin"
    call: PluginCall


@dataclass(frozen=True)
class ContainerBinds:
    """What a container is started with: `first_pid` is of the process namespace that it shall be in;
    each bind is a path of the laptop, one in the container, and whether it may only be read. With docker it
    shares network and processes with the container named `helper`, of the daemon at `address`; with podman
    both are empty."""

    first_pid: int
    binds: tuple[tuple[str, str, bool], ...]
    helper: str = ""
    address: str = ""


@dataclass(frozen=True)
class StartChild:
    """Run the command with this environment (whole, nothing is added) in these namespaces.

    `namespaces` are kinds out of `user net uts mnt pid`; their descriptors come with the line, in this
    order, by SCM_RIGHTS. None at all: the child runs beside the CLI. Values may carry surrogate escapes.
    With `container` the child is one, and `environment` is what it has beside the image's own.
    """

    tag: ClassVar[str] = "start-child"
    environment: dict[str, str] = field(repr=False)
    namespaces: tuple[str, ...] = ()
    container: ContainerBinds | None = None


@dataclass(frozen=True)
class StopChild:
    """Send the child SIGTERM and, after `grace_seconds`, SIGKILL; answered by `ChildEnded`, at once if none
    runs between two of them."""

    tag: ClassVar[str] = "stop-child"
    grace_seconds: float = 5.0


@dataclass(frozen=True)
class Ended:
    """All is as it was before the swap."""

    tag: ClassVar[str] = "ended"


@dataclass(frozen=True)
class Failed:
    """The session ended by an error: class name in model/errors, sentence, and a traceback for --debug."""

    tag: ClassVar[str] = "failed"
    error: str
    sentence: str
    traceback: str = ""

    @classmethod
    def of(cls, error: TelepresenceError, traceback: str = "") -> Failed:
        return cls(type(error).__name__, error.sentence, traceback)

    def to_error(self) -> TelepresenceError:
        return error_named(self.error)(self.sentence)


Opening = Swap | Run
FromCli = Opening | Confirmed | PluginEnded | ChildStarted | ChildEnded | Stop
FromSession = News | RunPlugin | Confirm | Foretold | StartChild | StopChild | Ended | Failed
Message = FromCli | FromSession

_FROM_CLI: dict[str, type[FromCli]] = {
    cls.tag: cls for cls in (Swap, Run, Confirmed, PluginEnded, ChildStarted, ChildEnded, Stop)
}
_FROM_SESSION: dict[str, type[FromSession]] = {
    cls.tag: cls for cls in (News, RunPlugin, Confirm, Foretold, StartChild, StopChild, Ended, Failed)
}


class DoorError(ValueError):
    """A line that is not a message: the two ends are of different versions, or one has a bug."""


def encode(message: Message) -> bytes:
    """One line, newline included."""
    verb = "do" if message.tag in _FROM_CLI else "is"
    return json.dumps({verb: message.tag, **_fields(message)}).encode("ascii") + b"\n"


def decode_from_cli(line: bytes) -> FromCli:
    """Raises DoorError."""
    message = _decode(line, "do")
    if not isinstance(message, FromCli):
        raise DoorError("a session's message came from the CLI")
    return message


def decode_from_session(line: bytes) -> FromSession:
    """Raises DoorError."""
    message = _decode(line, "is")
    if not isinstance(message, FromSession):
        raise DoorError("a CLI's message came from the session process")
    return message


class Lines:
    """Cuts a byte stream into lines; what follows the last newline waits for its rest."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, without their newlines."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return lines


def _fields(message: Message) -> Fields:
    match message:
        case Swap(intent) | Run(intent):
            return {"intent": intent.to_json()}
        case News(event):
            fields = {"name": event.name, "text": event.text, "level": event.level.value, "data": event.data}
            return {"event": fields}
        case Foretold(preview):
            return {"preview": preview.to_json()}
        case RunPlugin(call):
            return {"call": {**vars(call), "interaction": call.interaction.value}}
        case PluginEnded(end):
            return {"end": {**vars(end), "failure": end.failure and end.failure.name}}
        case StartChild(_environment, _namespaces, ContainerBinds() as container):
            return {**vars(message), "container": vars(container)}
        case _:
            return dict(vars(message))


def _decode(line: bytes, verb: str) -> Message:
    known: dict[str, type[Message]] = {**_FROM_CLI} if verb == "do" else {**_FROM_SESSION}
    try:
        fields = json.loads(line)
        cls = known[fields.pop(verb)]
        return _build(cls, fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        # the line may carry an environment with secrets: never quote it
        detail = f"{type(error).__name__}, {len(line)} bytes"
        raise DoorError(f"not a message of this version ({detail})") from error


def _build(cls: type[Message], fields: Fields) -> Message:
    if cls is Swap:
        return Swap(SwapIntent.from_json(fields["intent"]))  # type: ignore[arg-type]
    if cls is Run:
        return Run(RunIntent.from_json(fields["intent"]))  # type: ignore[arg-type]
    if cls is News:
        event = dict(fields["event"])  # type: ignore[call-overload]
        return News(Event(**{**event, "level": Level(event["level"])}))
    if cls is Foretold:
        return Foretold(Preview.from_json(fields["preview"]))  # type: ignore[arg-type]
    if cls is RunPlugin:
        call: dict[str, Any] = dict(fields["call"])  # type: ignore[call-overload]
        call |= {"command": tuple(call["command"]), "interaction": Interaction(call["interaction"])}
        return RunPlugin(PluginCall(**call))
    if cls is PluginEnded:
        end: dict[str, Any] = dict(fields["end"])  # type: ignore[call-overload]
        return PluginEnded(PluginEnd(**{**end, "failure": end["failure"] and Failure[end["failure"]]}))
    if cls is StartChild:
        fields = {**fields, "namespaces": tuple(fields["namespaces"])}  # type: ignore[arg-type]
        if fields["container"] is not None:
            container: dict[str, Any] = dict(fields["container"])  # type: ignore[call-overload]
            binds = tuple(
                (str(source), str(path), bool(sealed)) for source, path, sealed in container["binds"]
            )
            fields["container"] = ContainerBinds(**{**container, "binds": binds})
    return cls(**fields)  # type: ignore[arg-type]
