"""The commands."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from telepresence_py import __version__
from telepresence_py.cli.again_options import again_choice
from telepresence_py.cli.aside import hold_session
from telepresence_py.cli.common import (
    CONTEXT_SETTINGS,
    NearestGroup,
    cluster_choice,
    cluster_options,
    dry_run_choice,
    dry_run_options,
    output_options,
    screen_for,
)
from telepresence_py.cli.options import parse_ports, parse_target
from telepresence_py.cli.run import run
from telepresence_py.cli.session_options import session_fields, session_options
from telepresence_py.cli.sidecar_commands import sidecar
from telepresence_py.model.errors import BadUsage, TelepresenceError
from telepresence_py.model.intent import SwapIntent


@click.group(cls=NearestGroup, context_settings=CONTEXT_SETTINGS, no_args_is_help=False)
@click.version_option(__version__, prog_name="telepresence-py")
def cli() -> None:
    """Run one service of a Kubernetes application on your machine as though it were inside the cluster."""


@cli.command(context_settings=CONTEXT_SETTINGS)
@click.argument("target", metavar="KIND/NAME[:CONTAINER]")
@click.option(
    "--on-lost",
    type=click.Choice(["swap", "exit"]),
    default="swap",
    show_default=True,
    help="After a lost link: take the place again when the cluster is back, or end.",
)
@click.option("-p", "ports", multiple=True, metavar="LOCAL[:POD][/udp]", help="Where port POD leads.")
@session_options
def swap(target: str, command: tuple[str, ...], **options: Any) -> None:
    """Have COMMAND stand in for a workload, until it ends.

    What the cluster sends to the workload arrives in COMMAND, which sees the pod's network, names,
    environment and files. KIND/ may be left out for a deployment. Without COMMAND your shell is run.
    """
    with screen_for(options) as screen:
        intent, again = swap_intent(target, command, options), again_choice(options)
        from telepresence_py.model.door import Swap

        sys.exit(hold_session(Swap(intent), screen, again))


def swap_intent(target: str, command: tuple[str, ...], options: dict[str, Any]) -> SwapIntent:
    """The intent that the words of the command line make; BadUsage when one of them is malformed."""
    workload = parse_target(target)
    return SwapIntent(
        kind=workload.kind,
        name=workload.name,
        container=workload.container,
        ports=parse_ports(options["ports"]),
        on_lost=options["on_lost"],
        **session_fields(command, options),
    )


@cli.command("list", context_settings=CONTEXT_SETTINGS)
@click.option("--output", "-o", type=click.Choice(["table", "json"]), default="table", show_default=True)
@cluster_options
@output_options
def list_(output: str, **options: Any) -> None:
    """Sessions on this machine, and sidecar pods in the namespace."""
    with screen_for(options):
        from telepresence_py.cli.leftovers import show_sessions

        show_sessions(cluster_choice(options), as_json=output == "json")


@cli.command(context_settings=CONTEXT_SETTINGS)
@click.argument("session", required=False)
@click.option("--watch", is_flag=True, help="Again each second, until ^C.")
@click.option("--output", "-o", type=click.Choice(["table", "json"]), default="table", show_default=True)
@output_options
def status(session: str | None, watch: bool, output: str, **options: Any) -> None:
    """Links and connections of the sessions on this machine, or of one; the cluster is not asked."""
    with screen_for(options):
        from telepresence_py.cli.status import show_status

        show_status(session, as_json=output == "json", watch=watch)


@cli.command(context_settings=CONTEXT_SETTINGS)
@click.argument("target", required=False, metavar="[KIND/NAME]")
@click.option("--all", "everything", is_flag=True, help="Whatever sessions left in this namespace.")
@click.option("--force", is_flag=True, help="Also end a session that is alive.")
@dry_run_options
@cluster_options
@output_options
def restore(target: str | None, everything: bool, force: bool, **options: Any) -> None:
    """Put back what a dead session left, whosever and from wherever it was."""
    if (target is None) != everything:
        raise BadUsage("say either which workload to restore, KIND/NAME, or --all")
    with screen_for(options) as screen:
        from telepresence_py.cli.leftovers import restore_workloads, tell_restore

        workload = None if target is None else str(parse_target(target))
        do = tell_restore if dry_run_choice(options) else restore_workloads
        do(cluster_choice(options), screen, workload, force)


cli.add_command(run)
cli.add_command(sidecar)


def carry_out(words: Sequence[str]) -> int:
    """The command that the words are; returns its exit code unless it exits.

    Raises what the command raises, and an error of ours where it is click that complains.
    """
    try:
        return int(cli.main(list(words), prog_name="telepresence-py", standalone_mode=False) or 0)
    except click.UsageError as error:
        raise BadUsage(f"{error.format_message()}{_hint(error)}") from error
    except click.ClickException as error:
        failed = TelepresenceError(error.format_message())
        failed.exit_code = error.exit_code  # type: ignore[misc]  # click's own
        raise failed from error
    except click.Abort:
        raise KeyboardInterrupt from None


def _hint(error: click.UsageError) -> str:
    path = error.ctx.command_path if error.ctx is not None else "telepresence-py"
    if isinstance(error, click.NoSuchOption) and path.endswith(("swap", "run")):
        return f" Options of your own command stand behind a --; see {path} --help"
    return f" (see {path} --help)"
