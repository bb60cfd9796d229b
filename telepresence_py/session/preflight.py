"""What is made sure of before anything is touched, whatever the session is for."""

from __future__ import annotations

import errno
import os
import shutil

from telepresence_py.cluster.client import Cluster
from telepresence_py.forward.laptop_port import LaptopPort
from telepresence_py.isolation import enter, limits_of
from telepresence_py.model.errors import CommandNotFound, PreconditionFailed
from telepresence_py.model.events import Event, Level, Report
from telepresence_py.model.intent import METHODS_BESIDE, Intent
from telepresence_py.model.network import Mount, PortMap
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


async def require_isolation(intent: Intent, report: Report) -> None:
    """Isolate nobody for a moment: only the whole set-up tells whether this machine can. What the method that
    works cannot do is told; PreconditionFailed where just that was asked for."""
    used: list[object] = []

    def heard(event: Event) -> None:
        if event.name == "isolated":
            used.append(event.data["method"])

    view = NetworkView("probe", ("192.0.2.1", "2001:db8::1"), container=intent.container_image is not None)
    async with enter(view, heard, asked=intent.method):
        pass
    if used == ["redirect"] and intent.localhost.pod_localhost:
        raise PreconditionFailed(
            f"--pod-localhost {intent.localhost.pod_localhost[0]} needs --method userns, of which this is "
            "only the part that redirects (--method redirect): leave it out, or see by --method userns what "
            "this machine lacks"
        )
    contained = intent.container_image is not None
    for limit in (each for name in used for each in limits_of(name, contained)):
        report(Event("isolation-limit", limit[:1].upper() + limit[1:], Level.NOTICE))


def beside_laptop(method: str | None) -> bool:
    """Whether the child by that method has neither network nor files of its own."""
    return method in METHODS_BESIDE


def laptop_paths(command: tuple[str, ...]) -> list[str]:
    """Directories of the laptop that nothing of the pod's must hide from the child."""
    program = shutil.which(command[0]) or command[0]
    return [os.getcwd(), os.path.expanduser("~"), os.path.dirname(os.path.abspath(program))]


def require_beside(
    method: str | None, command: tuple[str, ...], mounts: tuple[Mount, ...], ports: tuple[PortMap, ...]
) -> None:
    """What the command needs of the laptop is there: `require_command`, and where the laptop's ports are its
    own, too, those that it shall listen on are free. PreconditionFailed names one that is not."""
    require_command(command, () if beside_laptop(method) else mounts)
    for port in (one for one in ports if beside_laptop(method) and not one.is_udp):
        try:
            LaptopPort(port.child_port).close()
        except OSError as error:
            raise PreconditionFailed(
                f"the command cannot listen on port {port.child_port} of this laptop, as it has to by "
                f"--method {method} ({os.strerror(error.errno or errno.EIO)}): end the program that has it, "
                f"or choose another by -p OTHER:{port.pod_port}"
            ) from error


def require_command(command: tuple[str, ...], mounts: tuple[Mount, ...]) -> None:
    """A path that the laptop does not have may still lie in a volume of the pod, else it is refused.

    The same holds for the interpreter that a script of the laptop names. Of no command nothing is needed.
    """
    if not command:
        return
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
