"""`--mount DIR`: whether the pod's volumes can be put below that directory of the laptop."""

from __future__ import annotations

import os

from telepresence_py.isolation.prefix_link import is_leftover
from telepresence_py.model.errors import PreconditionFailed
from telepresence_py.model.network import Mount
from telepresence_py.session.preflight import beside_laptop
from telepresence_py.volumes.choose import SYSTEM_DIRECTORIES, clean

_ANOTHER = "name a directory that is empty or not there"


def require_prefix(prefix: str | None, method: str | None, mounts: tuple[Mount, ...]) -> None:
    """PreconditionFailed for a directory that has something in it, or where something else has to be."""
    if prefix is None:
        return
    reason = _in_use(prefix) or (
        _no_link(prefix, method)
        if beside_laptop(method)
        else _clash(prefix, [clean(mount.path) for mount in mounts])
    )
    if reason is not None:
        raise PreconditionFailed(f"--mount {prefix}: {reason}")


def _in_use(prefix: str) -> str | None:
    if _is_within(os.getcwd(), os.path.realpath(prefix)):
        return f"you are in there; {_ANOTHER}, or go elsewhere first"
    if is_leftover(prefix):
        return None
    if os.path.islink(prefix):
        return f"it is a link, to {os.readlink(prefix)}; {_ANOTHER}"
    try:
        if os.listdir(prefix):
            return f"it is not empty, and what is there would be hidden; {_ANOTHER}"
    except FileNotFoundError:
        return None
    except OSError as error:  # a file, on the way or at its end; another user's
        return f"{os.strerror(error.errno or 0)}; {_ANOTHER}"
    return None


def _no_link(prefix: str, method: str | None) -> str | None:
    """Where nothing is mounted a link is made in its parent, in place of an empty directory."""
    parent = os.path.dirname(prefix)
    if not os.path.isdir(parent):
        return f"there is no directory {parent}; make it first"
    if not os.access(parent, os.W_OK | os.X_OK):
        return f"you may make nothing in {parent}, as has to be by --method {method}; name another"
    if os.path.ismount(prefix):
        return f"something is mounted there; {_ANOTHER}"
    return None


def _clash(prefix: str, paths: list[str]) -> str | None:
    for path in paths:
        if path not in SYSTEM_DIRECTORIES and (_is_within(prefix, path) or _is_within(path, prefix)):
            return f"the pod has a volume at {path}, which would be in the way; name another directory"
    return None


def _is_within(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")
