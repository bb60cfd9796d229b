"""The command line by which podman starts the child as a container, in namespaces that are there already."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import replace

from telepresence_py.cli.container_options import LABEL
from telepresence_py.environment.merging import stays_the_laptops
from telepresence_py.model.door import ContainerBinds
from telepresence_py.process.child import ChildSpec

# user namespace, network and host name are those that podman itself is in; nothing is fetched or logged
_ALWAYS = (
    "--rm",
    "--interactive",
    "--pull=never",
    "--log-driver=none",
    "--http-proxy=false",
    "--detach-keys=",
    "--no-hosts",
    "--security-opt=label=disable",
    "--userns=host",
    "--network=host",
    "--uts=host",
)

# podman and what it starts read these; as KEPT, but for containers
_PODMANS = re.compile(
    r"_?CONTAINERS?_.*|STORAGE_.*|BUILDAH_.*|PODMAN_.*|REGISTRY_AUTH_FILE|NOTIFY_SOCKET|LISTEN_.*|OCI_.*"
    r"|GO(DEBUG|GC|MAXPROCS|MEMLIMIT|TRACEBACK)|GLIBC_TUNABLES|GCONV_PATH|LOCPATH|MALLOC_.*|SSL_CERT_.*"
)


def in_container(spec: ChildSpec, image: str, container: ContainerBinds) -> ChildSpec:
    """The child that starts `spec.command` in a container, which has the variables of `spec.environment`.

    Their values stand in no command line. Most are handed over by podman's own environment, which takes
    values of any kind; those that would change podman itself, by a file in memory that lives as long as we.
    """
    given = spec.environment
    by_file = {name: value for name, value in given.items() if _changes_podman(name)}
    words = ["podman", "run", *_ALWAYS, f"--label={LABEL}", f"--pid=ns:/proc/{container.first_pid}/ns/pid"]
    if sys.stdin.isatty() and sys.stdout.isatty():
        words.append("--tty")
    words += [f"--env={name}" for name in given if name not in by_file]
    if by_file:
        words.append(f"--env-file=/proc/self/fd/{_in_memory(by_file)}")
    for source, path, sealed in container.binds:
        words.append(f"--volume={source}:{path}{':ro' if sealed else ''}")
    own = {
        **os.environ,
        **{name: value for name, value in given.items() if name not in by_file},
        # as `podman unshare` has it
        "_CONTAINERS_USERNS_CONFIGURED": "done",
        "_CONTAINERS_ROOTLESS_UID": str(os.geteuid()),
        "_CONTAINERS_ROOTLESS_GID": str(os.getegid()),
    }
    return replace(spec, command=(*words, image, *spec.command), environment=own, outside_pids=True)


def untold(environment: Mapping[str, str]) -> list[str]:
    """PURE. Names of variables that cannot be handed over: podman reads them itself, and they have lines."""
    return [name for name, value in environment.items() if _changes_podman(name) and "\n" in value]


def _changes_podman(name: str) -> bool:
    return stays_the_laptops(name) or _PODMANS.fullmatch(name) is not None


def _in_memory(variables: Mapping[str, str]) -> int:
    """A file of lines NAME=VALUE on no disk, which a child inherits."""
    descriptor = os.memfd_create("env", 0)
    lines = (f"{name}={value}\n" for name, value in variables.items() if "\n" not in value)
    with open(descriptor, "wb", closefd=False) as file:
        file.writelines(map(os.fsencode, lines))
    return descriptor
