"""References of images, as words: this version's, what a push makes of a registry, what a tag tells. Pure.

The grammar is that of the OCI distribution specification: HOST[:PORT]/PATH[:TAG][@DIGEST].
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from telepresence_py.model.errors import BadUsage
from telepresence_sidecar.contract import __version__

IMAGE_NAME = "telepresence-py-sidecar"
DEFAULT_IMAGE = f"localhost/{IMAGE_NAME}:{__version__}"
"""The image of this version, as `telepresence-py sidecar build` names it."""

_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?"
_PART = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_REFERENCE = re.compile(rf"(?:{_HOST}/)?{_PART}(?:/{_PART})*(?::{_TAG})?(?:@sha256:[0-9a-f]{{64}})?")
_REGISTRY = re.compile(rf"(?P<host>{_HOST})(?P<path>(?:/{_PART})*)(?::(?P<tag>{_TAG}))?")
_VERSION = re.compile(r"\d+\.\d+\.\d+[A-Za-z0-9.-]*")


@dataclass(frozen=True)
class ChosenImage:
    """The image that a session runs; `reason` says who chose it, for the end of "it is ..."."""

    reference: str
    reason: str


def is_reference(word: str) -> bool:
    """Whether a container runtime would take the word for an image's reference."""
    return _REFERENCE.fullmatch(word) is not None


def registry_of(reference: str) -> str | None:
    """HOST[:PORT] of a reference that has one; runtimes take Docker Hub for the others."""
    first, slash, _rest = reference.partition("/")
    return first if slash and _is_host(first) else None


def pushed_reference(word: str) -> str:
    """What `sidecar push WORD` pushes to; BadUsage when the word is no REGISTRY[/PATH][:TAG].

    PATH:TAG is taken as it stands. Without a tag, the image's own name and version are put behind PATH.
    """
    match = _REGISTRY.fullmatch(word)
    if match is None:
        raise BadUsage(
            f"{word!r} does not name a registry; write REGISTRY[/PATH][:TAG], for example "
            f"registry.example/team, with a path of lower-case letters, digits, '.', '_' and '-'"
        )
    host, path, tag = match["host"], match["path"], match["tag"]
    if not path and tag and tag.isdigit():
        raise BadUsage(f"{word!r}: {tag} is not a port; ports are numbers from 1 to 65535")
    if not _is_host(host):
        raise BadUsage(
            f"{word!r} does not begin with a registry's host name; did you mean docker.io/{word}, "
            "which is Docker Hub?"
        )
    if not path.endswith(f"/{IMAGE_NAME}") and not (path and tag):
        path += f"/{IMAGE_NAME}"
    return f"{host}{path}:{tag or __version__}"


def version_in(reference: str) -> str | None:
    """The version of this program that the reference's tag names; None when it names none."""
    name, _colon, tag = reference.partition("@")[0].rpartition(":")
    named = name.rpartition("/")[2] == IMAGE_NAME and _VERSION.fullmatch(tag)
    return tag if named else None


def _is_host(word: str) -> bool:
    """As container tools tell a registry from a first part of a path: by a dot, a port or this one name."""
    return word == "localhost" or "." in word or ":" in word
