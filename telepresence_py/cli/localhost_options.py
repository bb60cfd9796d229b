"""`--publish`, `--no-publish`, `--pod-localhost`, `--from-pod`: `localhost` both ways."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from telepresence_py.cli.common import AnyCommand
from telepresence_py.cli.options import port_number
from telepresence_py.model.errors import BadUsage
from telepresence_py.model.intent import LocalhostChoice, PublishedPort


def localhost_options(command: AnyCommand) -> AnyCommand:
    for option in (
        click.option(
            "--from-pod",
            multiple=True,
            metavar="PORT",
            help="Containers of the pod that call localhost:PORT reach COMMAND.",
        ),
        click.option(
            "--pod-localhost",
            multiple=True,
            metavar="PORT",
            help="COMMAND finds localhost:PORT in the pod, not on this laptop.",
        ),
        click.option("--no-publish", is_flag=True, help="Publish nothing but what --publish names."),
        click.option(
            "--publish",
            multiple=True,
            metavar="[LAPTOP:]CHILD",
            help="localhost:LAPTOP of this laptop reaches port CHILD of COMMAND; a clash is an error.",
        ),
    ):
        command = option(command)
    return command


def localhost_choice(options: dict[str, Any]) -> LocalhostChoice:
    """What the options ask for; BadUsage when they are malformed, or contradict each other."""
    pod_localhost = _ports("--pod-localhost", options["pod_localhost"])
    from_pod = _ports("--from-pod", options["from_pod"])
    for port in from_pod:
        if port in pod_localhost:
            raise BadUsage(
                f"--from-pod {port} and --pod-localhost {port} contradict each other: the first brings the "
                "pod's localhost here, the second leads there; leave one out"
            )
    published = parse_published(options["publish"])
    return LocalhostChoice(published, not options["no_publish"], pod_localhost, from_pod)


def parse_published(words: Iterable[str]) -> tuple[PublishedPort, ...]:
    """`8080` is the same port on both sides, `18080:8080` is laptop port 18080 for the command's 8080."""
    by_laptop_port: dict[int, PublishedPort] = {}
    for word in words:
        numbers = word.split(":")
        if len(numbers) > 2:
            raise BadUsage(
                f"--publish {word}: write CHILD or LAPTOP:CHILD, for example --publish 18080:8080; only "
                "localhost is published on"
            )
        laptop, child = (port_number(f"--publish {word}", number) for number in (numbers[0], numbers[-1]))
        one = PublishedPort(laptop, child)
        if by_laptop_port.setdefault(laptop, one) != one:
            raise BadUsage(f"--publish says twice where localhost:{laptop} shall lead")
    return tuple(by_laptop_port.values())


def _ports(option: str, words: Iterable[str]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(port_number(f"{option} {word}", word) for word in words))
