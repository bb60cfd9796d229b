"""A FAKE session process: speaks the door's language and makes real namespaces, but knows no cluster.

Run as `python session.py FD`. The file that FAKE_SESSION names tells by JSON what to do (`Script`); what was
heard is appended to FAKE_SESSION_HEARD, one JSON line per message.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path

from telepresence_py.model.door import (
    ChildEnded,
    Confirm,
    Confirmed,
    DoorError,
    Ended,
    Failed,
    FromCli,
    FromSession,
    Lines,
    News,
    PluginEnded,
    RunPlugin,
    StartChild,
    Stop,
    StopChild,
    decode_from_cli,
    encode,
)
from telepresence_py.model.events import Event, Level
from telepresence_py.model.plugin import Interaction, PluginCall
from telepresence_py.process import kernel
from telepresence_py.process.door_socket import send_with_descriptors

KINDS = {"user": "user", "net": "net", "uts": "uts", "mnt": "mnt", "pid": "pid_for_children"}


@dataclass(frozen=True)
class Script:
    """`before`: "start" the child, "wait" to be asked to stop, "die", "crash", "fail", or "confirm" first, or
    have a "plugin" run first: `plugin` are a shell's words and the interaction they are for.
    `while_running`: "wait" for its end, "stop-child", "fail", "die", or "end" too early.
    `later` and `restoring` are FIFOs: what happens `while_running` waits, and the restore lasts, until
    somebody opens it for writing. `hidden` is a directory that is covered by an empty, unreachable one.
    """

    before: str = "start"
    while_running: str = "wait"
    namespaces: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    later: str = ""
    restoring: str = ""
    hidden: str = ""
    grace_seconds: float = 5.0
    plugin: tuple[str, str] = ("", "")


class FakeSession:
    def __init__(self, sock: socket.socket, script: Script) -> None:
        self.sock = sock
        self.script = script
        self.lines = Lines()
        self.inbox: list[FromCli] = []
        self.heard = os.open(os.environ["FAKE_SESSION_HEARD"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def run(self) -> None:
        self.hear()
        self.say(News(Event("planned", "planned", Level.STEP)))
        if self.begin():
            self.accompany()
        self.restore()

    def begin(self) -> bool:
        match self.script.before:
            case "wait":
                self.say(News(Event("waiting", "waiting")))
                self.hear_until(Stop)
                return False
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "crash":
                raise RuntimeError("crashed as it was told to")
            case "fail":
                self.say(
                    Failed("WorkloadHeld", "deployment/orders is held by ann@work", "where it came from")
                )
                sys.exit(0)
            case "confirm":
                self.say(
                    Confirm(
                        "The context prod is protected. Go on?", "prod is protected, and nobody can be asked"
                    )
                )
                return isinstance(self.hear_until(Confirmed, Stop), Confirmed) and self.start()
            case "plugin":
                words, interaction = self.script.plugin
                self.say(
                    RunPlugin(PluginCall(("sh", "-c", words), {}, {"spec": {}}, Interaction(interaction)))
                )
                return isinstance(self.hear_until(PluginEnded, Stop), PluginEnded) and self.start()
        return self.start()

    def start(self) -> bool:
        environment = {**os.environ, **self.script.environment}
        descriptors = make_namespaces(self.script.hidden) if self.script.namespaces else {}
        request = StartChild(environment, tuple(descriptors))
        send_with_descriptors(self.sock, encode(request), list(descriptors.values()))
        for descriptor in descriptors.values():
            os.close(descriptor)
        return not isinstance(self.hear(), ChildEnded)

    def accompany(self) -> None:
        self.say(News(Event("in-place", "in place", Level.STEP)))
        if self.script.later:
            os.close(os.open(self.script.later, os.O_RDONLY))
        match self.script.while_running:
            case "stop-child":
                self.say(StopChild(self.script.grace_seconds))
                self.hear_until(ChildEnded)
                self.say(Failed("SessionLost", "deployment/orders was deleted"))
                sys.exit(0)
            case "fail":
                self.say(Failed("SessionLost", "deployment/orders was deleted"))
                sys.exit(0)
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "wait":
                self.hear_until(ChildEnded, Stop)

    def restore(self) -> None:
        self.say(News(Event("restoring", "restoring")))
        if self.script.restoring:
            os.close(os.open(self.script.restoring, os.O_RDONLY))
        self.note({"did": "restored"})
        self.say(News(Event("restored", "restored", Level.STEP)))
        self.say(Ended())

    def say(self, message: FromSession) -> None:
        try:
            self.sock.sendall(encode(message))
        except (BrokenPipeError, ConnectionResetError):
            self.note({"did": "found the CLI gone"})

    def hear(self) -> FromCli:
        while not self.inbox:
            try:
                data = self.sock.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                self.note({"did": "found the CLI gone"})
                return Stop("end of file")
            for line in self.lines.feed(data):
                self.note(json.loads(line))
                self.inbox.append(self.decode(line))
        return self.inbox.pop(0)

    def hear_until(self, *kinds: type) -> FromCli:
        while not isinstance(message := self.hear(), (*kinds, Stop)):
            pass
        return message

    def decode(self, line: bytes) -> FromCli:
        try:
            return decode_from_cli(line)
        except DoorError as error:
            raise SystemExit(f"the CLI said something that is {error}") from error

    def note(self, fact: object) -> None:
        os.write(self.heard, json.dumps(fact).encode() + b"\n")


def make_namespaces(hidden: str) -> dict[str, int]:
    """User, net, uts, mount and pid namespaces, kept by a process that dies with us."""
    ready, said = os.pipe()
    if (keeper := os.fork()) == 0:
        uid, gid = os.geteuid(), os.getegid()
        kernel.unshare(
            kernel.CLONE_NEWUSER
            | kernel.CLONE_NEWNET
            | kernel.CLONE_NEWUTS
            | kernel.CLONE_NEWNS
            | kernel.CLONE_NEWPID
        )
        kernel.die_with_parent()
        for name, text in {
            "setgroups": "deny",
            "uid_map": f"{uid} {uid} 1",
            "gid_map": f"{gid} {gid} 1",
        }.items():
            Path("/proc/self", name).write_text(text)
        socket.sethostname("fake-pod")
        if hidden:
            kernel.mount("tmpfs", hidden, "tmpfs", 0, "mode=000")
        if os.fork() == 0:
            kernel.die_with_parent()
            kernel.mount("proc", "/proc", "proc")
            os.write(said, b"1")
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            ctypes.CDLL(None).pause()
            os._exit(0)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        ctypes.CDLL(None).pause()
        os._exit(0)
    os.close(said)
    if os.read(ready, 1) != b"1":
        raise SystemExit("the namespaces could not be made")
    return {
        kind: os.open(f"/proc/{keeper}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC) for kind, name in KINDS.items()
    }


def main() -> None:
    script = Script(**json.loads(Path(os.environ["FAKE_SESSION"]).read_text()))
    FakeSession(socket.socket(fileno=int(sys.argv[1])), script).run()


if __name__ == "__main__":
    main()
