"""The command line by which podman, or docker, starts the child as a container, in namespaces that are there
already."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace

from telepresence_py.cli.container_options import LABEL
from telepresence_py.environment.merging import stays_the_laptops
from telepresence_py.model.door import ContainerBinds
from telepresence_py.process.child import ChildSpec

NO_CONFIGURATION = "/nonexistent"
"""A directory that is not there (hier(7))."""

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

# docker gives it network and host name of the helper; the files of both are bound over
_ALWAYS_BY_DOCKER = (
    "--rm",
    "--interactive",
    "--pull=never",
    "--log-driver=none",
    "--security-opt=label=disable",
    "--userns=host",
)

# these tools, and what they start, read these; as KEPT, but for containers
_TOOLS_OWN = re.compile(
    r"_?CONTAINERS?_.*|STORAGE_.*|BUILDAH_.*|PODMAN_.*|DOCKER_.*|OTEL_.*|REGISTRY_AUTH_FILE|NOTIFY_SOCKET"
    r"|LISTEN_.*|OCI_.*|GO(DEBUG|GC|MAXPROCS|MEMLIMIT|TRACEBACK)|GLIBC_TUNABLES|GCONV_PATH|LOCPATH|MALLOC_.*"
    r"|SSL_CERT_.*"
)


def in_container(spec: ChildSpec, image: str, container: ContainerBinds) -> ChildSpec:
    """The child that starts `spec.command` in a container, which has the variables of `spec.environment`.

    Their values stand in no command line. Most are handed over by the tool's own environment, which takes
    values of any kind; those that would change the tool itself, by a file in memory that lives as long as we.
    """
    given = spec.environment
    by_file = {name: value for name, value in given.items() if _changes_the_tool(name)}
    words = [*(_by_docker(container) if container.helper else _by_podman(container))]
    if sys.stdin.isatty() and sys.stdout.isatty():
        words.append("--tty")
    words += [f"--env={name}" for name in given if name not in by_file]
    if by_file:
        words.append(f"--env-file=/proc/self/fd/{_in_memory(by_file)}")
    own = {**os.environ, **{name: value for name, value in given.items() if name not in by_file}}
    if not container.helper:
        own |= {
            # as `podman unshare` has it
            "_CONTAINERS_USERNS_CONFIGURED": "done",
            "_CONTAINERS_ROOTLESS_UID": str(os.geteuid()),
            "_CONTAINERS_ROOTLESS_GID": str(os.getegid()),
        }
    return replace(spec, command=(*words, image, *spec.command), environment=own, outside_pids=True)


def _by_podman(container: ContainerBinds) -> Iterator[str]:
    yield from ("podman", "run", *_ALWAYS, f"--label={LABEL}", f"--pid=ns:/proc/{container.first_pid}/ns/pid")
    for source, path, sealed in container.binds:
        yield f"--volume={source}:{path}{':ro' if sealed else ''}"


def _by_docker(container: ContainerBinds) -> Iterator[str]:
    # a configuration of the user's would add the laptop's proxies to the container's variables
    yield from ("docker", "--config", NO_CONFIGURATION, "--host", container.address, "run")
    shared = f"container:{container.helper}"
    yield from (*_ALWAYS_BY_DOCKER, f"--label={LABEL}", f"--network={shared}", f"--pid={shared}")
    for source, path, sealed in container.binds:
        # unlike --volume this makes no directory where there is none
        fields = ["type=bind", f"source={source}", f"target={path}", *(["readonly"] if sealed else [])]
        yield f"--mount={','.join(map(_field, fields))}"


def _field(word: str) -> str:
    """Of a line of CSV."""
    return '"' + word.replace('"', '""') + '"' if re.search(r'[",\n]', word) else word


def untold(environment: Mapping[str, str]) -> list[str]:
    """PURE. Names of variables that cannot be handed over: the tools read them themselves, and they have
    lines."""
    return [name for name, value in environment.items() if _changes_the_tool(name) and "\n" in value]


def _changes_the_tool(name: str) -> bool:
    return stays_the_laptops(name) or _TOOLS_OWN.fullmatch(name) is not None


def _in_memory(variables: Mapping[str, str]) -> int:
    """A file of lines NAME=VALUE on no disk, which a child inherits."""
    descriptor = os.memfd_create("env", 0)
    lines = (f"{name}={value}\n" for name, value in variables.items() if "\n" not in value)
    with open(descriptor, "wb", closefd=False) as file:
        file.writelines(map(os.fsencode, lines))
    return descriptor
