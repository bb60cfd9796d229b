"""`sidecar ...`: the commands about the sidecar's image."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from telepresence_py.cli.common import (
    CONTEXT_SETTINGS,
    NearestGroup,
    cluster_choice,
    cluster_options,
    output_options,
    screen_for,
)
from telepresence_py.cli.options import parse_image, parse_platforms
from telepresence_py.cli.render import Screen
from telepresence_py.model.errors import BadUsage, ClusterUnreachable
from telepresence_py.model.events import Level
from telepresence_py.model.image import DEFAULT_IMAGE, pushed_reference
from telepresence_py.model.intent import ClusterChoice


@click.group(cls=NearestGroup, context_settings=CONTEXT_SETTINGS, no_args_is_help=False)
def sidecar() -> None:
    """The image of the sidecar that stands in the cluster."""


_image_option = click.option(
    "--image", type=parse_image, metavar="REF", default=DEFAULT_IMAGE, help="Instead of this version's."
)
_platform_option = click.option(
    "--platform", metavar="OS/ARCH", help="For example linux/arm64; that of the nodes without it."
)


@sidecar.command(context_settings=CONTEXT_SETTINGS)
@_image_option
@_platform_option
@cluster_options
@output_options
def build(image: str, platform: str | None, **options: Any) -> None:
    """Build it for the cluster's nodes.

    With docker, podman or buildah, whichever works here.
    """
    with screen_for(options) as screen:
        from telepresence_py.cli.sidecar_image import build_image

        build_image(screen, image, _one_platform(screen, cluster_choice(options), platform))


@sidecar.command(context_settings=CONTEXT_SETTINGS)
@click.argument("registry", metavar="REGISTRY[/PATH][:TAG]")
@click.option("--platform", metavar="OS/ARCH[,...]", help="One or several; those of the nodes without it.")
@click.option("--insecure", is_flag=True, help="Plain HTTP, or a certificate that cannot be checked.")
@click.option("--no-remember", is_flag=True, help="Leave your config.toml as it is.")
@cluster_options
@output_options
def push(registry: str, platform: str | None, insecure: bool, no_remember: bool, **options: Any) -> None:
    """Push it to a registry, and use it from there.

    By your own logins. It is built when it is not here, and remembered for this context in your config.toml.
    Without a TAG its name and version stand behind PATH.
    """
    with screen_for(options) as screen:
        from telepresence_py.cli.sidecar_push import push_image
        from telepresence_py.settings import IMAGE_VARIABLE, read_settings

        reference, choice = pushed_reference(registry), cluster_choice(options)
        settings = read_settings(os.environ)  # one that cannot be understood is told before the work
        context = None if no_remember else _context(choice)
        platforms = _platforms(screen, choice, platform)
        digest = push_image(screen, reference, platforms, insecure)
        screen.say(f"pushed {reference}" + (f"; pinned: {reference}@{digest}" if digest else ""))
        if not no_remember:
            from telepresence_py.cli.remembering import remember_image

            remember_image(settings.path, context, reference)
            whom = "every context" if context is None else f"context {context}"
            screen.say(f"remembered for {whom} in {settings.path}")
            if os.environ.get(IMAGE_VARIABLE) not in (None, "", reference):
                screen.say(f"{IMAGE_VARIABLE} is set and says otherwise", Level.WARNING)


@sidecar.command(context_settings=CONTEXT_SETTINGS)
@_image_option
@click.option("--to", "to", metavar="WHERE", help="kind[:NAME], minikube[:PROFILE], k3d[:NAME], "
              "containerd[:SOCKET] or project; what the context's name tells without it.")  # fmt: skip
@cluster_options
@output_options
def load(image: str, to: str | None, **options: Any) -> None:
    """Put it on the nodes of a cluster on this machine.

    It is built when it is not here; no registry is needed. `project` is the cluster of integration/cluster.
    """
    with screen_for(options) as screen:
        from telepresence_py.cli.load_target import parse_load_target
        from telepresence_py.cli.sidecar_load import find_target, load_image

        choice = cluster_choice(options)
        load_image(screen, image, find_target(choice) if to is None else parse_load_target(to))


@sidecar.command(context_settings=CONTEXT_SETTINGS)
@click.argument("file", type=click.Path(path_type=Path))
@_image_option
@_platform_option
@cluster_options
@output_options
def save(file: Path, image: str, platform: str | None, **options: Any) -> None:
    """Write it to FILE, for clusters out of reach.

    It is built when it is not here. FILE is a docker-archive: `ctr -n k8s.io images import FILE` puts it on a
    node, `podman load -i FILE` into the storage of a machine inside.
    """
    with screen_for(options) as screen:
        from telepresence_py.cli.sidecar_image import save_image

        save_image(screen, image, _one_platform(screen, cluster_choice(options), platform), file)


@sidecar.command("image", context_settings=CONTEXT_SETTINGS)
@cluster_options
@output_options
def image_reference(**options: Any) -> None:
    """Print the one that a swap would use now.

    With --verbose why that one.
    """
    with screen_for(options) as screen:
        from telepresence_py.session.image import version_notice
        from telepresence_py.settings import choose_image, read_settings

        settings = read_settings(os.environ)
        choice = cluster_choice(options)
        context = _context(choice) if choice.context or settings.context_images else None
        chosen = choose_image(None, os.environ, settings, context)
        screen.say(f"it is {chosen.reason}", Level.DETAIL)
        if (notice := version_notice(chosen)) is not None:
            screen.say(notice)
        click.echo(chosen.reference)


def _context(choice: ClusterChoice) -> str | None:
    """The chosen context; None where there is no kubeconfig. NamedObjectMissing for a wrong name."""
    from telepresence_py.cluster.kubeconfig import context_name

    try:
        return context_name(choice)
    except ClusterUnreachable:
        return None


def _one_platform(screen: Screen, choice: ClusterChoice, word: str | None) -> str:
    platforms = _platforms(screen, choice, word)
    if len(platforms) > 1:
        raise BadUsage(f"there are several platforms ({', '.join(platforms)}); choose one by --platform")
    return platforms[0]


def _platforms(screen: Screen, choice: ClusterChoice, word: str | None) -> tuple[str, ...]:
    """Those that the word names, else the nodes', else this machine's."""
    if word is not None:
        return parse_platforms(word)
    from telepresence_py.cli.node_platform import platforms_of_nodes
    from telepresence_py.cli.sidecar_image import this_platform

    if choice.context or choice.kubeconfig:
        _context(choice)  # a wrong name is told rather than this machine taken for its nodes
    if platforms := platforms_of_nodes(choice):
        return tuple(sorted(platforms))
    screen.say("the nodes' architecture cannot be read, so this machine's is taken; --platform says another")
    return (this_platform(),)
