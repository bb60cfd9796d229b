"""`run`: a command in a pod of its own."""

from __future__ import annotations

import sys
from typing import Any

import click

from telepresence_py.cli.again_options import again_choice
from telepresence_py.cli.aside import hold_session
from telepresence_py.cli.common import CONTEXT_SETTINGS, not_empty, screen_for
from telepresence_py.cli.options import parse_name, parse_ports, parse_target
from telepresence_py.cli.session_options import session_fields, session_options
from telepresence_py.model.errors import BadUsage
from telepresence_py.model.intent import Model, RunIntent


@click.command(context_settings=CONTEXT_SETTINGS)
@click.option(
    "--name", metavar="NAME", help="Of the pod and its Service; made from user and session without it."
)
@click.option(
    "--expose",
    multiple=True,
    metavar="LOCAL[:POD][/udp]",
    help="Make a Service whose port POD reaches the command on port LOCAL.",
)
@click.option("--like", metavar="KIND/NAME[:CONTAINER]", help="Environment, volumes, account of such a pod.")
@click.option(
    "--serviceaccount",
    callback=not_empty,
    metavar="NAME",
    help="Service account; the namespace's default without it.",
)
@session_options
def run(command: tuple[str, ...], **options: Any) -> None:
    """Run COMMAND as though it were in a pod of its own; no workload is touched.

    The pod is plain, or like one of a deployment, statefulset, daemonset, replicaset,
    replicationcontroller, job, cronjob or pod. It is gone with COMMAND, and its Service with it.
    Without COMMAND your shell is run.
    """
    with screen_for(options) as screen:
        intent, again = run_intent(command, options), again_choice(options)
        from telepresence_py.model.door import Run

        sys.exit(hold_session(Run(intent), screen, again))


def run_intent(command: tuple[str, ...], options: dict[str, Any]) -> RunIntent:
    """The intent that the words of the command line make; BadUsage when one of them is malformed."""
    account, model = options["serviceaccount"], None
    if options["like"] is not None:
        target = parse_target(options["like"])
        model = Model(target.kind, target.name, target.container)
    fields = session_fields(command, options)
    if fields["files"] and model is None:
        raise BadUsage(
            f"--file {fields['files'][0]} needs --like KIND/NAME, whose container has it; a plain pod has no "
            "files of its own"
        )
    return RunIntent(
        name=None if options["name"] is None else parse_name("--name", options["name"]),
        model=model,
        service_account=account,
        exposed=parse_ports(options["expose"], "--expose"),
        **fields,
    )
