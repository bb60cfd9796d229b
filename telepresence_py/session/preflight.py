"""What is made sure of before anything is touched, whatever the session is for."""

from __future__ import annotations

import os
import shutil

from telepresence_py.cluster.client import Cluster
from telepresence_py.isolation import enter
from telepresence_py.model.errors import CommandNotFound
from telepresence_py.model.network import Mount
from telepresence_py.model.world import NetworkView
from telepresence_py.process.command import interpreter_of
from telepresence_py.session.door import Door
from telepresence_py.settings import read_settings


async def confirm_protected(door: Door, cluster: Cluster, verb: str) -> None:
    """Ask first where the user's configuration says so; `verb` is what would be done. CliGone for a no."""
    if read_settings(os.environ).protects(cluster.context):
        await door.confirm(
            f"context {cluster.context} is marked protected; {verb} there?",
            f"context {cluster.context} is marked protected and there is no terminal to ask on; "
            "name another by --context, or take it from protected_contexts in the configuration",
        )


async def require_isolation() -> None:
    """Isolate nobody for a moment: only the whole set-up tells whether this machine can."""
    async with enter(NetworkView("probe", ("192.0.2.1", "2001:db8::1")), lambda _event: None):
        pass


def require_command(command: tuple[str, ...], mounts: tuple[Mount, ...]) -> None:
    """A path that the laptop does not have may still lie in a volume of the pod, else it is refused.

    The same holds for the interpreter that a script of the laptop names.
    """
    path = command[0]
    if "/" in path and _is_nowhere(path, mounts):
        raise CommandNotFound(f"{path}: no such file here, nor in a volume of the pod; nothing was changed")
    script = shutil.which(path)
    interpreter = None if script is None else interpreter_of(script)
    if interpreter is not None and _is_nowhere(interpreter, mounts):
        raise CommandNotFound(
            f"{path} wants to be run by {interpreter!r}, which is neither here nor in a volume of the pod; "
            "nothing was changed"
        )


def _is_nowhere(path: str, mounts: tuple[Mount, ...]) -> bool:
    below = (os.path.abspath(path).startswith(mount.path.rstrip("/") + "/") for mount in mounts)
    return not os.path.lexists(path) and not any(below)
