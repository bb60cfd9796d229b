"""Asks docker of the laptop: where its daemon is, whether that is a daemon that can help, and what it has."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

_ASK_SECONDS = 30.0
_UNIX = "unix://"
_DESKTOP = "Docker Desktop"
_ADDRESS = "{{.Endpoints.docker.Host}}"
_FACTS = "{{.KernelVersion}}\t{{.OperatingSystem}}"
_ROOT = 0
_CREDENTIALS = struct.Struct("3i")


class DockerFailed(Exception):
    """The text is a clause that says how."""


@dataclass(frozen=True)
class Daemon:
    """`client` is the docker program, `address` that of a daemon of root's on this machine."""

    client: str
    address: str

    @property
    def words(self) -> tuple[str, ...]:
        """How every command line to it begins."""
        return (self.client, "--host", self.address)


def find_daemon() -> Daemon:
    """The one that `docker` talks to, by DOCKER_HOST or its context; blocks for some 50 ms.

    DockerFailed where it does not answer, or is not root's on this machine, which alone can help."""
    client = shutil.which("docker")
    if client is None:
        raise DockerFailed("docker is not installed here")
    address = os.environ.get("DOCKER_HOST") or _address_of_context(client)
    if not address.startswith(_UNIX):
        raise DockerFailed(
            f"docker's daemon is at {address}, which may be another machine: its containers see nothing of "
            "this one; unset DOCKER_HOST, or name this machine's own daemon by `docker context use`"
        )
    _require_roots(address.removeprefix(_UNIX))
    daemon = Daemon(client, address)
    _require_own_kernel(daemon)
    return daemon


def _address_of_context(client: str) -> str:
    code, said = _run((client, "context", "inspect", "--format", _ADDRESS))
    if code:
        raise DockerFailed(f"`docker context inspect` says: {_last_line(said)}")
    return said.strip()


def _require_roots(path: str) -> None:
    try:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(path)
            data = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    except PermissionError as error:
        raise DockerFailed(
            f"you may not use docker's socket {path}: root can let you by `usermod -aG docker "
            f"{getpass.getuser()}`, which is as good as root's rights; it holds from your next login on"
        ) from error
    except OSError as error:
        raise DockerFailed(
            f"no daemon of docker's answers at {path} ({error.strerror}): root can start it by "
            "`systemctl start docker`"
        ) from error
    _pid, user_id, _group_id = _CREDENTIALS.unpack(data)
    if user_id != _ROOT:
        raise DockerFailed(
            "docker's daemon here is not root's, as with rootless docker and Docker Desktop, and has no more "
            "rights than you have; name root's by DOCKER_HOST or `docker context use`"
        )


def _require_own_kernel(daemon: Daemon) -> None:
    code, said = _run((*daemon.words, "info", "--format", _FACTS))
    kernel, _, system = said.strip().partition("\t")
    if code or not system:
        raise DockerFailed(f"docker's daemon says: {_last_line(said)}")
    if system == _DESKTOP or kernel != os.uname().release:
        raise DockerFailed(
            f"docker's daemon runs in a virtual machine or on another one ({system}, kernel {kernel}): its "
            "containers see nothing of this machine"
        )


def ask_docker(daemon: Daemon, words: Sequence[str], given: bytes = b"") -> tuple[int, str]:
    """The exit code of `docker WORDS` and the last line that it said, with `given` on its stdin; DockerFailed
    where it does not end."""
    code, said = _run((*daemon.words, *words), given)
    return code, _last_line(said)


def _run(command: Sequence[str], given: bytes = b"") -> tuple[int, str]:
    """Exit code, and what it said: stderr's if it failed."""
    try:
        done = subprocess.run(command, input=given, capture_output=True, timeout=_ASK_SECONDS, check=False)
    except OSError as error:
        raise DockerFailed(f"{command[0]} cannot be executed ({error.strerror})") from error
    except subprocess.TimeoutExpired as error:
        raise DockerFailed(f"docker did not answer within {_ASK_SECONDS:g} s") from error
    return done.returncode, (done.stderr if done.returncode else done.stdout).decode(errors="replace")


def _last_line(said: str) -> str:
    lines = said.strip().splitlines()
    return lines[-1].removeprefix("Error response from daemon: ") if lines else "nothing"
