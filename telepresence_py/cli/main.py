"""The commands, and the one place where errors become sentences and exit codes."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import click

from telepresence_py import __version__
from telepresence_py.cli.options import nearest, parse_duration, parse_ports, parse_target
from telepresence_py.cli.render import PREFIX, Screen, Wanted
from telepresence_py.model.errors import BadUsage, InternalError, TelepresenceError
from telepresence_py.model.intent import ClusterChoice, SwapIntent

_Command = TypeVar("_Command", bound=Callable[..., Any])
_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class NearestGroup(click.Group):
    """A group that names the nearest command when there is none of the name given."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        word = args[0] if args else ""
        if word and not word.startswith("-") and self.get_command(ctx, word) is None:
            meant = nearest(word, self.list_commands(ctx))
            hint = f"did you mean {meant!r}?" if meant else f"there are {', '.join(self.list_commands(ctx))}"
            raise click.UsageError(f"there is no command {word!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)


def cluster_options(command: _Command) -> _Command:
    for option in (
        click.option("--kubeconfig", metavar="FILE", help="Kubeconfig instead of $KUBECONFIG."),
        click.option("-n", "--namespace", metavar="NS", help="Namespace; the context's own without it."),
        click.option("--context", metavar="NAME", help="Context; the current one without it."),
    ):
        command = option(command)
    return command


def output_options(command: _Command) -> _Command:
    for option in (
        click.option("--debug", is_flag=True, help="Show where an error came from."),
        click.option("--log-file", metavar="FILE", help="Append all news, details too, to FILE."),
        click.option("-v", "--verbose", is_flag=True, help="Show details, with times."),
        click.option("-q", "--quiet", is_flag=True, help="Show warnings and errors only."),
    ):
        command = option(command)
    return command


def screen_for(options: dict[str, Any]) -> Screen:
    """The screen that the output options ask for; they are taken out of `options`."""
    wanted = Wanted(*(options.pop(name) for name in ("quiet", "verbose", "debug", "log_file")))
    return Screen(sys.stderr, wanted)


def cluster_choice(options: dict[str, Any]) -> ClusterChoice:
    """The cluster that the cluster options choose; they are taken out of `options`."""
    return ClusterChoice(*(options.pop(name) for name in ("kubeconfig", "context", "namespace")))


@click.group(cls=NearestGroup, context_settings=_CONTEXT, no_args_is_help=False)
@click.version_option(__version__, prog_name="telepresence-py")
def cli() -> None:
    """Run one service of a Kubernetes application on your machine as though it were inside the cluster."""


@cli.command(context_settings=_CONTEXT)
@click.argument("target", metavar="KIND/NAME[:CONTAINER]")
@click.option("-p", "ports", multiple=True, metavar="LOCAL[:POD]", help="Where connections to port POD go.")
@click.option("--grace", default="30s", show_default=True, metavar="TIME", help="Wait for a lost session.")
@click.option("--image", metavar="REF", help="Image of the sidecar.")
@click.option("--ready", type=click.Choice(["listening", "now"]), default="listening", show_default=True,
              help="Take traffic once the command listens on every port, or at once.")  # fmt: skip
@cluster_options
@output_options
@click.argument("command", nargs=-1, metavar="-- COMMAND...")
def swap(target: str, command: tuple[str, ...], **options: Any) -> None:
    """Have COMMAND stand in for a workload, until it ends.

    What the cluster sends to the workload arrives in COMMAND, which sees the pod's network, names,
    environment and files. KIND/ may be left out for a deployment. Without COMMAND your shell is run.
    """
    with screen_for(options) as screen:
        intent = swap_intent(target, command, options)
        from telepresence_py.cli.swap import swap as run_swap

        sys.exit(run_swap(intent, screen))


def swap_intent(target: str, command: tuple[str, ...], options: dict[str, Any]) -> SwapIntent:
    """The intent that the words of the command line make; BadUsage when one of them is malformed."""
    workload = parse_target(target)
    return SwapIntent(
        cluster=cluster_choice(options),
        kind=workload.kind,
        name=workload.name,
        container=workload.container,
        ports=parse_ports(options["ports"]),
        command=command or (os.environ.get("SHELL") or "/bin/sh",),
        holder=_holder(),
        image=options["image"],
        grace_seconds=parse_duration(options["grace"]),
        ready_now=options["ready"] == "now",
    )


@cli.command("list", context_settings=_CONTEXT)
@click.option("--output", "-o", type=click.Choice(["table", "json"]), default="table", show_default=True)
@cluster_options
@output_options
def list_(output: str, **options: Any) -> None:
    """Sessions on this machine, and sidecar pods in the namespace."""
    with screen_for(options):
        from telepresence_py.cli.leftovers import show_sessions

        show_sessions(cluster_choice(options), as_json=output == "json")


@cli.command(context_settings=_CONTEXT)
@click.argument("target", required=False, metavar="[KIND/NAME]")
@click.option("--all", "everything", is_flag=True, help="Whatever sessions left in this namespace.")
@click.option("--force", is_flag=True, help="Also end a session that is alive.")
@cluster_options
@output_options
def restore(target: str | None, everything: bool, force: bool, **options: Any) -> None:
    """Put back what a dead session left, whosever and from wherever it was."""
    if (target is None) != everything:
        raise BadUsage("say either which workload to restore, KIND/NAME, or --all")
    with screen_for(options) as screen:
        from telepresence_py.cli.leftovers import restore_workloads

        workload = None if target is None else str(parse_target(target))
        restore_workloads(cluster_choice(options), screen, workload, force)


@cli.group(cls=NearestGroup, context_settings=_CONTEXT, no_args_is_help=False)
def sidecar() -> None:
    """The image of the sidecar that stands in the cluster."""


_image_option = click.option("--image", metavar="REF", help="Another reference than this version's.")


@sidecar.command(context_settings=_CONTEXT)
@_image_option
@click.option("--platform", metavar="OS/ARCH", help="For example linux/arm64; that of the nodes without it.")
@cluster_options
@output_options
def build(image: str | None, platform: str | None, **options: Any) -> None:
    """Build it with docker, podman or buildah, whichever works here, for the cluster's nodes."""
    with screen_for(options) as screen:
        from telepresence_py.cli.sidecar_image import build_image, this_platform

        choice = cluster_choice(options)
        build_image(screen, image, platform or _platform_of_nodes(screen, choice) or this_platform())


def _platform_of_nodes(screen: Screen, choice: ClusterChoice) -> str | None:
    from telepresence_py.cli.node_platform import platforms_of_nodes

    platforms = platforms_of_nodes(choice)
    if not platforms:
        screen.say(
            "the nodes' architecture cannot be read, so this machine's is taken; --platform says another"
        )
    if len(platforms) > 1:
        raise BadUsage(f"the nodes differ ({', '.join(sorted(platforms))}); choose one by --platform")
    return next(iter(platforms), None)


@sidecar.command(context_settings=_CONTEXT)
@_image_option
@output_options
def load(image: str | None, **options: Any) -> None:
    """Put it on every node of this project's own cluster (integration/cluster)."""
    with screen_for(options) as screen:
        from telepresence_py.cli.sidecar_image import load_image

        load_image(screen, image)


@sidecar.command("image", context_settings=_CONTEXT)
def image_reference() -> None:
    """Print its reference."""
    from telepresence_py.cli.sidecar_image import default_image

    click.echo(default_image())


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script. Exits with the code that model/errors.py gives to the error, or the child's."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in (words[: words.index("--")] if "--" in words else words)
    say = partial(_say, debug=debug)
    try:
        sys.exit(cli.main(words, prog_name="telepresence-py", standalone_mode=False) or 0)
    except click.UsageError as error:
        say(error, f"{error.format_message()}{_hint(error)}")
        sys.exit(BadUsage.exit_code)
    except click.ClickException as error:
        say(error, error.format_message())
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        # the reader of our standard output went away, as in `list | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(0)
    except TelepresenceError as error:
        say(error, error.sentence)
        sys.exit(error.exit_code)
    except Exception as error:  # noqa: BLE001 - the user gets a sentence for whatever it is
        say(error, f"a bug ({type(error).__name__}: {error}); run again with --debug and report what it says")
        sys.exit(InternalError.exit_code)


def _say(error: BaseException, sentence: str, debug: bool) -> None:
    trace = "".join(traceback.format_exception(error)) if debug else ""
    sys.stderr.write(f"{trace}{PREFIX}{sentence}\n")


def _hint(error: click.UsageError) -> str:
    path = error.ctx.command_path if error.ctx is not None else "telepresence-py"
    if isinstance(error, click.NoSuchOption) and path.endswith("swap"):
        return f" Options of your own command stand behind a --; see {path} --help"
    return f" (see {path} --help)"


def _holder() -> str:
    import getpass
    import socket

    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.geteuid())  # a container's user without a line in passwd
    return f"{user}@{socket.gethostname()}"
