"""What the commands have in common: groups that know the nearest name, and the options that many take."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from telepresence_py.cli.options import check_identity, hint, parse_namespace
from telepresence_py.cli.render import Screen, Wanted
from telepresence_py.model.errors import BadUsage
from telepresence_py.model.intent import ClusterChoice

AnyCommand = TypeVar("AnyCommand", bound=Callable[..., Any])
CONTEXT_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class NearestGroup(click.Group):
    """A group that names the nearest command when there is none of the name given."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        word = args[0] if args else ""
        if word and not word.startswith("-") and self.get_command(ctx, word) is None:
            raise click.UsageError(
                f"there is no command {word!r}; {hint(word, self.list_commands(ctx))}", ctx
            )
        return super().resolve_command(ctx, args)


def not_empty(_context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """For options whose empty value would otherwise mean what a variable that is not set does not say."""
    if value == "":
        raise BadUsage(f"{option.opts[-1]} is empty; give it a value, or leave it out")
    return value


def cluster_options(command: AnyCommand) -> AnyCommand:
    for option in (
        click.option(
            "--as-group", "as_groups", multiple=True, metavar="GROUP", help="With --as; repeatable."
        ),
        click.option("--as", "as_user", metavar="USER", help="Act as this user of the cluster."),
        click.option(
            "--kubeconfig", callback=not_empty, metavar="FILE", help="Kubeconfig instead of $KUBECONFIG."
        ),
        click.option(
            "-n",
            "--namespace",
            type=parse_namespace,
            metavar="NS",
            help="Namespace; the context's own without it.",
        ),
        click.option(
            "--context", callback=not_empty, metavar="NAME", help="Context; the current one without it."
        ),
    ):
        command = option(command)
    return command


def output_options(command: AnyCommand) -> AnyCommand:
    for option in (
        click.option("--debug", is_flag=True, help="Show where an error came from."),
        click.option(
            "--log-file", callback=not_empty, metavar="FILE", help="Append all news, details too, to FILE."
        ),
        click.option("-v", "--verbose", is_flag=True, help="Show details, with times."),
        click.option("-q", "--quiet", is_flag=True, help="Show warnings and errors only."),
    ):
        command = option(command)
    return command


def dry_run_options(command: AnyCommand) -> AnyCommand:
    """Taken out by `dry_run_choice`."""
    for option in (
        click.option("-o", "--output", type=click.Choice(["table", "json"]), help="With --dry-run."),
        click.option("--dry-run", is_flag=True, help="Tell what would be done, and how it is undone."),
    ):
        command = option(command)
    return command


def dry_run_choice(options: dict[str, Any]) -> bool:
    """Whether nothing shall be done; BadUsage where the form of an answer is named that there will not be."""
    dry_run, output = options.pop("dry_run"), options.pop("output")
    if output is not None and not dry_run:
        raise BadUsage(f"--output {output} is for what --dry-run tells: add that, or leave it out")
    return bool(dry_run)


def screen_for(options: dict[str, Any]) -> Screen:
    """The screen that the output options ask for; they are taken out of `options`."""
    named = {name: options.pop(name) for name in ("quiet", "verbose", "debug", "log_file")}
    return Screen(sys.stderr, Wanted(**named, as_json=options.get("output") == "json"))


def whose() -> str:
    """user@host of whoever types this, as others are told it."""
    import getpass
    import socket

    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.geteuid())  # a container's user without a line in passwd
    return f"{user}@{socket.gethostname()}"


def cluster_choice(options: dict[str, Any]) -> ClusterChoice:
    """The cluster that the cluster options choose; they are taken out of `options`; BadUsage."""
    names = ("kubeconfig", "context", "namespace", "as_user", "as_groups")
    choice = ClusterChoice(*(options.pop(name) for name in names))
    check_identity(choice.as_user, choice.as_groups)
    return choice
