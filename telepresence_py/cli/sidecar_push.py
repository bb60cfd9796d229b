"""`sidecar push`: the image in a registry, for one platform or several, and why a registry refused it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from telepresence_py.cli.builder import (
    Builder,
    PushSettings,
    Said,
    ToolFailed,
    ask_tool,
    digest_in,
    run_tool,
)
from telepresence_py.cli.render import Screen
from telepresence_py.cli.sidecar_image import images_here
from telepresence_py.model.errors import PreconditionFailed
from telepresence_py.model.events import Level
from telepresence_py.model.image import registry_of

# what the three tools pass on of a registry's answer, or of the want of one; the first that fits is told
_REFUSALS = (
    ("HTTP response to HTTPS client", "{registry} speaks plain HTTP: {insecure}"),
    (
        "no such host|name resolution|server misbehaving|lookup .*timeout",
        "no host has that name: check how {registry} is spelt, network and VPN",
    ),
    (
        "connection refused|i/o timeout|deadline exceeded|no route to host|network is unreachable",
        "{registry} does not answer: check its name and port, network and VPN",
    ),
    ("x509|certificate", "put the registry's authority into {certificates}/{registry}/ca.crt, or {insecure}"),
    (
        "name unknown|repository does not exist|repository .*not found",
        "{registry} has no such repository: make it there, or name another",
    ),
    (
        r"unauthorized|denied|forbidden|authentication required|no basic auth|insufficient_scope|\b40[13]\b",
        "log in by `{tool} login {registry}` with an account that may push there",
    ),
)
# what podman and buildah were doing on the way to the cause
_DETOURS = re.compile(
    r'^Error: |pushing image ".*?" to ".*?": |trying to reuse blob \S+ at destination: '
    r"|checking whether a blob \S+ exists in \S+: |pinging container registry \S+: |writing blob: "
)


def push_image(screen: Screen, reference: str, platforms: Sequence[str], insecure: bool) -> str | None:
    """Push this version's image as `reference`, as a list when it is for several platforms.

    Its digest, if the tool tells it. What is not here yet is built. PreconditionFailed in the builder's words
    when the registry refuses.
    """
    builder, images = images_here(screen, platforms)
    if insecure and builder.is_docker:
        raise PreconditionFailed(f"docker does not take --insecure: {_insecure(builder, reference)}")
    screen.say(f"pushing {reference} for {' and '.join(platforms)} by {builder.name}", Level.STEP)
    with tempfile.TemporaryDirectory(prefix="telepresence-py-") as directory:
        how = PushSettings(Path(directory, "digest"), tls=not insecure)
        if len(images) == 1:
            (image,) = images.values()
            said = _run(screen, builder, builder.push(image, reference, how), reference)
        else:
            said = _push_list(screen, builder, images, reference, how)
        text = how.digest_file.read_text() if how.digest_file.exists() else said.text
    return digest_in(text)


def refusal(tool: str, reference: str, said: Said) -> str:
    """PURE: the sentence for a push that failed: what to do, and the tool's last words."""
    builder, registry = Builder(tool), registry_of(reference)
    words = next((line.strip() for line in reversed(said.lines) if line.strip()), f"code {said.code}")
    words = _DETOURS.sub("", words)
    for pattern, cure in _REFUSALS:
        if re.search(pattern, said.text, re.IGNORECASE):
            where = "/etc/docker/certs.d" if builder.is_docker else "/etc/containers/certs.d"
            hint = _insecure(builder, reference)
            told = cure.format(tool=tool, registry=registry, certificates=where, insecure=hint)
            return f"pushing {reference} failed: {told} ({tool}: {words})"
    return f"pushing {reference} failed; {tool} says: {words}"


def _insecure(builder: Builder, reference: str) -> str:
    if builder.is_docker:
        registry = registry_of(reference)
        return f'write "insecure-registries": ["{registry}"] into /etc/docker/daemon.json and restart docker'
    return "say --insecure if that is meant"


def _push_list(
    screen: Screen, builder: Builder, images: Mapping[str, str], reference: str, how: PushSettings
) -> Said:
    remove = builder.remove_list(images)
    try:
        if remove is not None:
            ask_tool(remove)  # one that was left by a push that was killed
        return _run(screen, builder, builder.push_list(images, reference, how), reference)
    finally:
        if remove is not None:
            ask_tool(remove)


def _run(screen: Screen, builder: Builder, commands: Sequence[Sequence[str]], reference: str) -> Said:
    """What the last one says."""
    try:
        return [run_tool(screen, command, f"pushing {reference}") for command in commands][-1]
    except ToolFailed as error:
        raise PreconditionFailed(refusal(builder.name, reference, error.said)) from error
