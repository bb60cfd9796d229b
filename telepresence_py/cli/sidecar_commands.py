"""`sidecar ...`: the commands about the sidecar's image."""

from __future__ import annotations

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
from telepresence_py.cli.options import parse_image
from telepresence_py.cli.render import Screen
from telepresence_py.model.errors import BadUsage
from telepresence_py.model.intent import ClusterChoice


@click.group(cls=NearestGroup, context_settings=CONTEXT_SETTINGS, no_args_is_help=False)
def sidecar() -> None:
    """The image of the sidecar that stands in the cluster."""


_image_option = click.option(
    "--image", type=parse_image, metavar="REF", help="Another reference than this version's."
)


@sidecar.command(context_settings=CONTEXT_SETTINGS)
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


@sidecar.command(context_settings=CONTEXT_SETTINGS)
@_image_option
@output_options
def load(image: str | None, **options: Any) -> None:
    """Put it on every node of this project's own cluster (integration/cluster)."""
    with screen_for(options) as screen:
        from telepresence_py.cli.sidecar_image import load_image

        load_image(screen, image)


@sidecar.command("image", context_settings=CONTEXT_SETTINGS)
def image_reference() -> None:
    """Print its reference."""
    from telepresence_py.cli.sidecar_image import default_image

    click.echo(default_image())
