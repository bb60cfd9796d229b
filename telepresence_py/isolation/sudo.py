"""The method "sudo": as "userns", but that a process to which sudo gave the right makes the user namespace.

The namespace is the user's all the same, since its maker is, so everything after is as without sudo: the
child joins it as its owner, and nothing in it has a right outside of it.
"""

from __future__ import annotations

import getpass
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from telepresence_py.isolation.facts import HostFacts, gather
from telepresence_py.isolation.steps import Refusal, Step, StepRefused
from telepresence_py.process.raised_program import (
    RaisedProgram,
    raised_command,
    start_raised,
    sudoers_line,
)

if TYPE_CHECKING:
    from telepresence_py.isolation.contract import World

AGENT = "telepresence_py.isolation.agent"


def hindrance(facts: HostFacts) -> str | None:
    """PURE."""
    if facts.platform != "linux":
        return f"namespaces need Linux, this is {facts.platform}"
    if facts.user_id == 0:
        return "you are root, who has what sudo gives: --method userns is the same"
    if facts.max_user_namespaces == 0:
        return (
            "user.max_user_namespaces is 0, which root may not pass either: raise it as root with "
            "`sysctl -w user.max_user_namespaces=15000`, then --method userns works"
        )
    missing = [name for name, path in (("sudo", facts.sudo), ("setpriv", facts.setpriv)) if not path]
    return f"this machine has no {' and no '.join(missing)}: install it" if missing else None


class Raised:
    """The agent's start, for `userns.enter`: `start` and `heir`; and why it failed, if it did."""

    def __init__(self) -> None:
        facts = gather()
        self._sudo = facts.sudo
        self._command = raised_command(facts.setpriv, AGENT)
        self._program: RaisedProgram | None = None

    def start(self, control: socket.socket) -> RaisedProgram:
        self._program = start_raised(self._sudo, self._command, control)
        return self._program

    def heir(self, pid: int) -> RaisedProgram:
        assert self._program is not None
        self._program.is_continued_by(pid)
        return self._program

    def _cure(self, words: str) -> str:
        return (
            f"sudo did not start what makes the namespaces ({words or 'it said nothing'}); it is asked "
            "without a terminal, so it must want no password for this: have root add, by `visudo -f "
            f"/etc/sudoers.d/telepresence-py`, the line\n  {sudoers_line(getpass.getuser(), self._command)}\n"
            "or have root allow user namespaces themselves (docs/isolation.md)"
        )

    @asynccontextmanager
    async def explained(
        self, entering: AbstractAsyncContextManager[World], silence: type[Exception]
    ) -> AsyncIterator[World]:
        """`entering`; where the agent never spoke (`silence`), StepRefused with what sudo said instead."""
        async with AsyncExitStack() as stack:
            try:
                world = await stack.enter_async_context(entering)
            except silence as error:
                words = self._program.last_words if self._program else ""
                raise StepRefused(Refusal(Step.SUDO, 0, self._cure(words))) from error
            yield world
