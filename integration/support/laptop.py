"""A laptop of its own on the wire of the own cluster: a network namespace with an address that changes."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from functools import partial

from integration.support.plain_user import PlainUser
from telepresence_py.process.kernel import CLONE_NEWNET, setns

LAPTOP = f"tpp-laptop-{os.getpid()}"


class Elsewhere(PlainUser):
    """That user in the network namespace of `laptop_beside`."""

    def popen_arguments(self) -> dict[str, object]:
        return {"preexec_fn": partial(enter, self.uid, self.gid)}


def on_the_laptop(user: PlainUser) -> Elsewhere:
    return Elsewhere(**{each.name: getattr(user, each.name) for each in dataclasses.fields(user)})


def enter(uid: int, gid: int) -> None:
    setns(os.open(f"/run/netns/{LAPTOP}", os.O_RDONLY | os.O_CLOEXEC), CLONE_NEWNET)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


@contextlib.contextmanager
def laptop_beside(server: str, *addresses: str) -> Iterator[Callable[[], None]]:
    """A laptop on the wire of the own cluster, with the first of the addresses; call what is yielded to take
    the next one."""
    wire = json.loads(_ip("-j", "route", "get", server))[0]["dev"]
    outer, left = f"tpl{os.getpid()}"[:15], list(addresses)
    _ip("netns", "add", LAPTOP)
    try:
        _ip("link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", LAPTOP)
        _ip("link", "set", outer, "master", wire, "up")
        for device in ("lo", "eth0"):
            _ip("-n", LAPTOP, "link", "set", device, "up")

        def move() -> None:
            _ip("-n", LAPTOP, "addr", "flush", "dev", "eth0", "scope", "global")
            _ip("-n", LAPTOP, "addr", "add", left.pop(0), "dev", "eth0")

        move()
        yield move
    finally:
        _ip("netns", "del", LAPTOP)


def _ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout
