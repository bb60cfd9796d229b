"""What `swap` and `run` have in common: their options, and the part of an intent that these make."""

from __future__ import annotations

import os
from typing import Any

import click

from telepresence_py.cli.again_options import again_options
from telepresence_py.cli.common import (
    AnyCommand,
    cluster_choice,
    cluster_options,
    dry_run_choice,
    dry_run_options,
    output_options,
    whose,
)
from telepresence_py.cli.container_options import METHOD, container_choice, container_options
from telepresence_py.cli.environment import environment_choice, environment_options
from telepresence_py.cli.localhost_options import localhost_choice, localhost_options
from telepresence_py.cli.method_option import method_choice, method_option
from telepresence_py.cli.options import parse_connect, parse_grace, parse_image
from telepresence_py.cli.rules import rule_options, rules_choice
from telepresence_py.cli.volume_options import parse_files, parse_prefix, parse_volumes, volume_options


def session_options(command: AnyCommand) -> AnyCommand:
    """All of them: also on another start, rules, cluster, environment, output; and the command behind."""
    command = click.argument("command", nargs=-1, metavar="-- COMMAND...")(command)
    command = rule_options(environment_options(localhost_options(cluster_options(output_options(command)))))
    command = dry_run_options(container_options(method_option(again_options(volume_options(command)))))
    for option in (
        click.option(
            "--ready",
            type=click.Choice(["listening", "now"]),
            default="listening",
            show_default=True,
            help="Take traffic once the command listens on every port, or at once.",
        ),
        click.option(
            "--connect",
            default="truthful",
            show_default=True,
            metavar="truthful|fast",
            help="connect() tells what the far side says, or saves a round trip.",
        ),
        click.option("--image", type=parse_image, metavar="REF", help="Image of the sidecar."),
        click.option(
            "--grace", default="30s", show_default=True, metavar="TIME", help="Wait for a lost session."
        ),
    ):
        command = option(command)
    return command


def session_fields(command: tuple[str, ...], options: dict[str, Any]) -> dict[str, Any]:
    """The fields of every intent; BadUsage when a word is malformed. Without a command the shell is run."""
    rules, localhost = rules_choice(options), localhost_choice(options)
    method, dry_run = method_choice(options["method"], rules, localhost), dry_run_choice(options)
    fields = {
        "cluster": cluster_choice(options),
        "holder": whose(),
        "image": options["image"],
        "grace_seconds": parse_grace(options["grace"]),
        "ready_now": options["ready"] == "now",
        "fast_connect": parse_connect(options["connect"]) == "fast",
        "environment": environment_choice(options),
        "rules": rules,
        "localhost": localhost,
        "volumes": parse_volumes(options["volume"]),
        "prefix": parse_prefix(options["mount"]),
        "files": parse_files(options["file"]),
        "dry_run": dry_run,
    }
    # last: it may build an image, for which all else must be right
    unkept = [f"--{name}" for name in ("mount", "file") if options[name]]
    image = container_choice(options["run_in"], options["build"], method, unkept, touch=not dry_run)
    if image is None:
        command = command or (os.environ.get("SHELL") or "/bin/sh",)
    return {
        **fields,
        "command": command,
        "container_image": image,
        "method": method if image is None else method or METHOD,
    }
