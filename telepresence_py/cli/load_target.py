"""Where `sidecar load` puts the image: the words of --to, and what a context's name tells. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from telepresence_py.cli.options import hint
from telepresence_py.model.errors import BadUsage, NamedObjectMissing

FORMS = "kind[:NAME], minikube[:PROFILE], k3d[:NAME], containerd[:SOCKET] or project"
PROJECT = "project"
CONTAINERD = "containerd"
DEFAULT_NAMES = {"kind": "kind", "minikube": "minikube", "k3d": "k3s-default"}
"""What each tool calls a cluster for which no name was given."""
MICROK8S_SOCKET = "/var/snap/microk8s/common/run/containerd.sock"
KUBELET_SOCKETS = ("/run/k3s/containerd/containerd.sock", MICROK8S_SOCKET, "/run/k0s/containerd.sock")
"""Sockets that distributions of Kubernetes put at places of their own."""
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
"""The usual one; with docker installed it is docker's, and no kubelet looks there."""

_CONTEXTS_OF_TOOLS = {"kind-": "kind", "k3d-": "k3d"}


@dataclass(frozen=True)
class LoadTarget:
    """`name` is a cluster's, a profile's or a socket's path; None leaves it to what there is."""

    tool: str
    name: str | None = None


def parse_load_target(word: str) -> LoadTarget:
    """`kind:dev`, `minikube`, `containerd:/run/containerd/containerd.sock`, ..."""
    tool, colon, name = word.partition(":")
    known = [*DEFAULT_NAMES, CONTAINERD, PROJECT]
    if tool not in known:
        raise BadUsage(f"--to {word!r}: {hint(tool, known, f'write {FORMS}')}")
    if (colon and not name) or (name and tool == PROJECT):
        raise BadUsage(f"--to {word!r}: write {FORMS}")
    return LoadTarget(tool, name or None)


def target_of_context(context: str) -> LoadTarget | None:
    """The cluster that the tools' own contexts name; None for anybody's."""
    for prefix, tool in _CONTEXTS_OF_TOOLS.items():
        if context.startswith(prefix) and context != prefix:
            return LoadTarget(tool, context.removeprefix(prefix))
    match context:
        case "minikube":
            return LoadTarget("minikube", context)
        case "microk8s":
            return LoadTarget(CONTAINERD, MICROK8S_SOCKET)
        case "telepresence-py":  # as integration/cluster names it
            return LoadTarget(PROJECT)
    return None


def choose_name(target: LoadTarget, existing: Collection[str]) -> str:
    """The cluster meant, which exists: the one named, the tool's default one, or the only one."""
    wanted = target.name or DEFAULT_NAMES[target.tool]
    if wanted in existing:
        return wanted
    if target.name is None and len(existing) == 1:
        return next(iter(existing))
    if not existing:
        raise NamedObjectMissing(f"{target.tool} has no cluster here, so none to load the image into")
    raise NamedObjectMissing(f"{target.tool} has no cluster {wanted!r}; {hint(wanted, sorted(existing))}")


def choose_socket(target: LoadTarget, existing: Collection[str]) -> str:
    """The socket meant, which is one of the existing: the one named, or the only one known of a kubelet."""
    if target.name is not None:
        if target.name in existing:
            return target.name
        there = (
            f"there are {', '.join(sorted(existing))}" if existing else "no other known one is there either"
        )
        raise NamedObjectMissing(f"there is no socket {target.name}; {there}")
    found = [socket for socket in KUBELET_SOCKETS if socket in existing] or [
        socket for socket in existing if socket == CONTAINERD_SOCKET
    ]
    if len(found) == 1:
        return found[0]
    listed = f"several ({', '.join(found)})" if found else "none at a known place"
    raise NamedObjectMissing(
        f"of sockets of containerd there are {listed}: name one by --to containerd:SOCKET"
    )
