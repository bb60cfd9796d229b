"""`--method`: how the command is made to see the pod's world."""

from __future__ import annotations

import click

from telepresence_py import system
from telepresence_py.cli.common import AnyCommand
from telepresence_py.cli.options import hint
from telepresence_py.model.errors import BadUsage, PreconditionFailed
from telepresence_py.model.intent import METHODS, METHODS_BESIDE, LocalhostChoice
from telepresence_py.model.rules import Rule

ELSEWHERE = "proxy"
"""The method of systems that are not Linux."""


def method_option(command: AnyCommand) -> AnyCommand:
    return click.option(
        "--method",
        metavar="|".join(METHODS),
        help=(
            "How COMMAND comes to see the pod's world; without it the best that this machine can."
            if system.LINUX
            else f"How COMMAND comes to see the pod's world; on {system.name()} by proxy variables alone."
        ),
    )(command)


def method_choice(word: str | None, rules: tuple[Rule, ...], localhost: LocalhostChoice) -> str | None:
    """The method's name, None for whichever works; BadUsage when there is none of that name, or when what
    else was asked for is more than it can do; PreconditionFailed when this system has not got it."""
    if word is None:
        if system.LINUX:
            return None
        word = ELSEWHERE
    if word not in METHODS:
        raise BadUsage(f"--method: there is no method {word!r}; {hint(word, METHODS)}")
    if not system.LINUX and word != ELSEWHERE:
        raise PreconditionFailed(
            f"--method {word} needs Linux, this is {system.name()}, which has --method {ELSEWHERE} alone: "
            "leave it out, or take a virtual machine with Linux"
        )
    if word in METHODS_BESIDE:
        _require_little(word, rules, localhost)
    return word


def _require_little(word: str, rules: tuple[Rule, ...], localhost: LocalhostChoice) -> None:
    if rules:
        raise BadUsage(f"--method {word} cannot keep {rules[0]}, as the command may go past it; leave it out")
    if localhost.published:
        raise BadUsage(
            f"--method {word} leaves the command on this laptop's localhost, where its ports are without "
            "--publish; leave that out, and give it another port by -p if that one is taken"
        )
    if localhost.pod_localhost:
        raise BadUsage(
            f"--method {word} cannot keep --pod-localhost {localhost.pod_localhost[0]}: the command's "
            "localhost is this laptop's; leave it out"
        )
