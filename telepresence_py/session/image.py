"""Which image the session's sidecars run, and why a node does not get it."""

from __future__ import annotations

import os
import re

from telepresence_py.model.events import Event, Level, Report
from telepresence_py.model.image import ChosenImage, registry_of, version_in
from telepresence_py.settings import choose_image, read_settings
from telepresence_sidecar.contract import __version__

# what containerd and CRI-O pass on of a registry's refusal
_WANTS_LOGIN = re.compile(r"\b40[13]\b|unauthorized|forbidden|denied|authoriz|credentials", re.IGNORECASE)
_PLAIN_HTTP = re.compile(r"HTTP response to HTTPS client")
_NOT_FOUND = re.compile(r"not found|manifest unknown|name unknown", re.IGNORECASE)
_LOCAL = "localhost/"


def image_for(named: str | None, context: str, report: Report) -> str:
    """The reference to run; `named` is what --image says. The choice, and what is odd about it, is told.

    PreconditionFailed when the user's settings or the variable cannot be understood.
    """
    chosen = choose_image(named, os.environ, read_settings(os.environ), context)
    report(Event("image", f"The sidecar's image is {chosen.reference}, {chosen.reason}", Level.DETAIL))
    if (notice := version_notice(chosen)) is not None:
        report(Event("image-version", notice, Level.NOTICE))
    return chosen.reference


def version_notice(chosen: ChosenImage) -> str | None:
    """PURE: what to say of an image whose tag names another version than this program's."""
    version = version_in(chosen.reference)
    if version is None or version == __version__:
        return None
    return (
        f"{chosen.reference}, {chosen.reason}, is of version {version} and this is {__version__}: "
        "telepresence-py sidecar push REGISTRY makes and remembers one of this version"
    )


def no_image(reference: str, detail: str) -> str:
    """PURE: the sentence for a node that cannot get the image; `detail` is the kubelet's account."""
    return f"the node cannot get the sidecar's image {reference}: {_cure(reference, detail)} ({detail})"


def _cure(reference: str, detail: str) -> str:
    registry = registry_of(reference)
    if registry is None or reference.startswith(_LOCAL):
        return (
            "build it by `telepresence-py sidecar build`, bring it to the nodes by `telepresence-py sidecar "
            "load`, push it to a registry by `telepresence-py sidecar push`, or name another by --image"
        )
    if _PLAIN_HTTP.search(detail):
        return f"{registry} speaks plain HTTP, which the runtime of the nodes must be told (docs/image.md)"
    if _WANTS_LOGIN.search(detail):
        return (
            f"if {registry} wants a login, give the workload or its service account an imagePullSecret for "
            "it (docs/image.md); else check the name"
        )
    if _NOT_FOUND.search(detail):
        return "push it there by `telepresence-py sidecar push`, or name another by --image"
    return f"check that the nodes reach {registry}, or name another by --image"
