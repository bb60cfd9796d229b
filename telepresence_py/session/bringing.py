"""`--file PATH`: what no volume holds is read out of a container that runs, before anything is touched."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from telepresence_py.cluster.calls import Json
from telepresence_py.cluster.client import Cluster
from telepresence_py.cluster.names import suggestion
from telepresence_py.cluster.pods import get_pod, list_pods
from telepresence_py.cluster.portforward import exec_target
from telepresence_py.cluster.templates import Template
from telepresence_py.model.errors import NamedObjectMissing, PreconditionFailed
from telepresence_py.model.events import Event, Level, Report
from telepresence_py.model.intent import Intent
from telepresence_py.model.network import Mount, WebSocketTarget
from telepresence_py.session.podstate import is_ready, is_sidecar
from telepresence_py.session.preflight import beside_laptop, laptop_paths
from telepresence_py.tunnel.bridge import in_asyncio
from telepresence_py.volumes.brought import (
    MOST_ARCHIVE_BYTES,
    Brought,
    Link,
    TooMuch,
    covering,
    of_archive,
)
from telepresence_py.volumes.choose import MOST_BYTES, MOST_FILES, clean, why_not_there

if TYPE_CHECKING:
    from telepresence_py.tunnel.executing import Executed

_PODS_OWN = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
TRIES = 3
"""The end of what a program writes may get lost on the way with success told all the same (Kubernetes issue
124571): an archive tells its end, and a file is the same when it is read again."""
_MISSING = "No such file or directory"


@dataclass(frozen=True)
class Source:
    """The container to read from, and what is mounted in it; `pod` None where none runs."""

    workload: str
    pod: str | None
    container: str
    mounts: tuple[Mount, ...]


async def pod_of(cluster: Cluster, template: Template, container: str) -> str | None:
    """The name of a Ready pod that was made from the template, or is it; None when there is none."""
    labels = template.json["metadata"].get("labels") or {}
    if template.is_pod:
        pod = await get_pod(cluster, template.source.partition("/")[2])
        return running_pod([] if pod is None else [pod], template.json["spec"], container)
    if not labels:  # which would select all pods of the namespace
        return None
    selector = ",".join(f"{name}={value}" for name, value in labels.items())
    pods = await list_pods(cluster, selector)
    return running_pod(pods.items, template.json["spec"], container)


def running_pod(pods: Iterable[Json], spec: Json, container: str) -> str | None:
    """PURE: the name of a Ready one whose container of that name has the image of the spec's."""
    image = _image(spec, container)
    for pod in sorted(pods, key=lambda one: str(one["metadata"]["name"])):
        going = pod["metadata"].get("deletionTimestamp")
        if is_ready(pod) and not going and not is_sidecar(pod) and _image(pod["spec"], container) == image:
            return str(pod["metadata"]["name"])
    return None


def _image(spec: Json, container: str) -> str | None:
    return next((one.get("image") for one in spec["containers"] if one["name"] == container), None)


def below_alone(paths: Iterable[str], intent: Intent) -> frozenset[str]:
    """Those that would hide something of the laptop's that the command needs, and so are below `--mount DIR`
    alone; PreconditionFailed where there is none."""
    if beside_laptop(intent.method) or intent.container_image is not None:
        return frozenset()
    needed = laptop_paths(intent.command)
    reasons = {path: reason for path in paths if (reason := why_not_there(path, needed)) is not None}
    for path, reason in reasons.items() if intent.prefix is None else ():
        raise PreconditionFailed(
            f"--file {path}: {reason}; name what you need in it, or have it below --mount DIR"
        )
    return frozenset(reasons)


async def bring(cluster: Cluster, source: Source, intent: Intent, report: Report) -> tuple[Brought, ...]:
    """The paths that the intent names, out of the container, all at once.

    NamedObjectMissing with the nearest name for one that is not there. PreconditionFailed for one that a
    volume holds, that is too large, or cannot be read, and where nothing runs that could be read from.
    """
    paths = intent.files
    if not paths:
        return ()
    kinds = {clean(mount.path): mount.kind for mount in source.mounts}
    for path in paths:
        reason = covering(path, kinds)
        if path in _PODS_OWN:
            reason = "the command has the pod's own anyway; leave it out"
        if reason is not None:
            raise PreconditionFailed(f"--file {path}: {reason}")
    below_alone(paths, intent)
    if source.pod is None:
        raise PreconditionFailed(
            f"--file {paths[0]}: {source.workload} has no Ready pod to read it from; scale it up, or wait "
            "for one, or leave the option out"
        )
    reader = _Reader(cluster, source, source.pod)
    brought: dict[str, Brought] = {}

    async def read(path: str) -> None:
        brought[path] = await reader.read(path)

    async with trio.open_nursery() as reading:
        for path in paths:
            reading.start_soon(read, path)
    for path in paths:
        text = f"{path} was read from container {source.container} of pod {source.pod}"
        report(Event("file-read", text, Level.DETAIL))
    return tuple(brought[path] for path in paths)


class _Reader:
    """Reads by the programs of the image: `tar`, or else `cat`."""

    def __init__(self, cluster: Cluster, source: Source, pod: str) -> None:
        self._cluster = cluster
        self._source = source
        self._pod = pod

    async def read(self, path: str) -> Brought:
        looked = await self._by_tar(path, "/", f".{path}")
        if isinstance(looked, Link):
            # a link to a directory is one for `-C`, and one to a file is a file for `cat`
            looked = await self._by_tar(path, path, ".", or_none=True) or await self._by_cat(path)
        if isinstance(looked, TooMuch):
            raise self._too_much(path, looked)
        if not isinstance(looked, Brought):
            raise self._failed(path, "it is neither a file nor a directory")
        return looked

    async def _by_tar(
        self, path: str, root: str, name: str, or_none: bool = False
    ) -> Brought | Link | TooMuch | None:
        for attempt in range(1, TRIES + 1):
            ran = await self._run(MOST_ARCHIVE_BYTES, "tar", "-cf", "-", "-C", root, name)
            if ran.is_cut:
                return TooMuch(0, MOST_BYTES)
            if ran.code != 0:
                break
            try:
                return await trio.to_thread.run_sync(of_archive, path, ran.out, root)
            except ValueError as error:
                if attempt == TRIES:
                    raise self._failed(path, f"what its tar says is no whole archive ({error})") from error
        if or_none:
            return None
        if ran.code is None:
            return await self._by_cat(path)
        raise await self._unreadable(path, ran.err)

    async def _by_cat(self, path: str) -> Brought | TooMuch:
        ran = await self._run(MOST_BYTES, "cat", path)
        for _ in range(TRIES):
            again = await self._run(MOST_BYTES, "cat", path)
            if (again.code, again.out) == (ran.code, ran.out):
                break
            ran = again
        else:
            raise self._failed(path, "it is another each time that it is read")
        if ran.code is None:
            raise self._failed(
                path,
                "its image has neither tar nor cat to read it by, or they cannot be run "
                f"({ran.reason}); copy it from the image, or mount it as a ConfigMap",
            )
        if ran.is_cut:
            return TooMuch(1, MOST_BYTES)
        if ran.code:
            raise await self._unreadable(path, ran.err)
        told = await self._run(64, "stat", "-L", "-c", "%a", path)
        octal = told.out.decode("ascii", "replace").strip() if told.code == 0 else ""
        mode = int(octal, 8) & 0o777 if octal.isdigit() and not set(octal) & {"8", "9"} else None
        return Brought(path, ran.out) if mode is None else Brought(path, ran.out, mode)

    async def _unreadable(self, path: str, said: str) -> NamedObjectMissing | PreconditionFailed:
        said = said.strip().splitlines()[0] if said.strip() else "it does not say why"
        if _MISSING in said:
            parent, name = posixpath.split(path)
            listed = await self._run(MOST_BYTES, "ls", "-1a", parent)
            names = [one for one in listed.out.decode("utf-8", "replace").splitlines() if one.strip(".")]
            hint = suggestion(name, names, f"files in {parent}") if listed.code == 0 else ""
            return NamedObjectMissing(f"--file {path}: {self._there} has no such file{hint}")
        return self._failed(path, f"it cannot be read ({said})")

    @property
    def _there(self) -> str:
        return f"container {self._source.container} of pod {self._pod}"

    def _failed(self, path: str, reason: str) -> PreconditionFailed:
        return PreconditionFailed(f"--file {path}: {reason}, in {self._there}")

    def _too_much(self, path: str, found: TooMuch) -> PreconditionFailed:
        many = f"{MOST_BYTES >> 20} MiB" if found.bytes >= MOST_BYTES else f"{MOST_FILES} files"
        return self._failed(path, f"it is more than {many}, the most that is brought; name a part of it")

    async def _run(self, most_bytes: int, *command: str) -> Executed:
        # nobody else needs it before the first tunnel
        from telepresence_py.tunnel.executing import execute

        def target() -> WebSocketTarget:
            return exec_target(self._cluster, self._pod, self._source.container, command)

        return await in_asyncio(execute, target, most_bytes)
