"""A container of docker's in which a program of this laptop starts with a right that its user has not got.

Its image is empty and made here: nothing is fetched. What runs in it as root are the laptop's own nsenter(1),
which goes back to the files that we see, and what the caller names. Of root's rights it has those that these
need.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from telepresence_py.process.docker import Daemon, DockerFailed, ask_docker

LABEL = "telepresence-py"
IMAGE = "localhost/telepresence-py-nothing:1"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# where programs and their libraries are, on all systems that have a directory of that name
_PROGRAMS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix", "/gnu")
_PROC = "/laptop"
_RIGHTS = (
    "SYS_ADMIN",  # to enter namespaces, and what the caller's program is for
    "SYS_CHROOT",  # asked for by setns(2) of a mount namespace
    "SYS_PTRACE",  # to find our mount namespace
    "SETUID",
    "SETGID",
    "SETPCAP",
)
_FUSE = "c 10:229 rwm"
_LEFT = "/left"
_UNSEEN = ("--rm", "--pull=never", f"--label={LABEL}", "--log-driver=none", "--network=none", "--userns=host")
_ALWAYS = (
    *_UNSEEN,
    "--attach=stderr",
    "--sig-proxy=false",
    "--read-only",
    "--cap-drop=ALL",
    *(f"--cap-add={right}" for right in _RIGHTS),
    "--security-opt=seccomp=unconfined",
    "--security-opt=apparmor=unconfined",
    "--security-opt=label=disable",
    f"--device-cgroup-rule={_FUSE}",
)


def bring_image(daemon: Daemon) -> None:
    """Have docker know the empty image; the same one each time. DockerFailed if it refuses."""
    code, said = ask_docker(daemon, ("load", "--quiet"), _empty_image())
    if code:
        raise DockerFailed(f"docker did not take an empty image: {said}")


def _empty_image() -> bytes:
    layer = _archive({})
    settings = {
        "architecture": _ARCHITECTURES.get(os.uname().machine, os.uname().machine),
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    words = json.dumps(settings).encode()
    name = f"{hashlib.sha256(words).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]
    return _archive({"layer.tar": layer, name: words, "manifest.json": json.dumps(manifest).encode()})


def _archive(files: Mapping[str, bytes]) -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return whole.getvalue()


def helper_words(name: str, nsenter: str, command: Sequence[str], hostname: str = "") -> tuple[str, ...]:
    """PURE but for what directories there are. Of `docker run`: `command` in the mount namespace of who calls
    this. With a `hostname` it is the first process of a namespace, which other containers may share; else it
    is among the laptop's own."""
    sharing = ("--hostname", hostname) if hostname else ("--pid=host",)
    binds = (*_programs(), _bind("/proc", _PROC))
    return (
        *("run", *_ALWAYS, "--name", name, *sharing, *binds, "--entrypoint", nsenter),
        *(IMAGE, f"--mount={_PROC}/{os.getpid()}/ns/mnt", "--", *command),
    )


def empty_directory(daemon: Daemon, find: str, directory: Path) -> None:
    """Remove what root of a container left in a directory of ours; `find` is the path of find(1)."""
    rights = ("--cap-drop=ALL", "--cap-add=DAC_OVERRIDE", "--cap-add=FOWNER", "--security-opt=label=disable")
    bind = f"--mount=type=bind,source={directory},target={_LEFT}"
    words = ("run", *_UNSEEN, *rights, *_programs(), bind, "--entrypoint", find, IMAGE)
    with suppress(DockerFailed):
        ask_docker(daemon, (*words, _LEFT, "-mindepth", "1", "-delete"))


def _programs() -> list[str]:
    return [_bind(path, path) for path in _PROGRAMS if os.path.isdir(path)]


def _bind(source: str, target: str) -> str:
    return f"--mount=type=bind,source={source},target={target},readonly"


class HelperContainer:
    """A container that is starting: docker's client tells of it. `client_ended` is readable once it is gone,
    or there was none; then `last_words` has what was said.

    Once our program was met, its process is what is waited for: `pid`, `descriptor`, `kill` and `finish` are
    those of a namespace agent, which may go on as another process. docker removes the container by itself.
    """

    def __init__(self, daemon: Daemon, words: Sequence[str]) -> None:
        self._said = os.memfd_create("said")
        self._client = subprocess.Popen(
            (*daemon.words, *words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._said,
            start_new_session=True,
            cwd="/",
        )
        self.client_ended = os.pidfd_open(self._client.pid)
        self.pid = 0
        self.descriptor = -1

    @property
    def last_words(self) -> str:
        with open(self._said, "rb", closefd=False) as file:
            file.seek(0)
            return " ".join(file.read().decode(errors="replace").split())

    def is_met(self, pid: int) -> None:
        """That is our program; ProcessLookupError if it is no more. docker's client has done its work."""
        self.descriptor = os.pidfd_open(pid)
        self.pid = pid
        self.let_go()

    def let_go(self) -> None:
        """End the client; the container lives on if there is one. May be called again."""
        if self.client_ended >= 0:
            self._client.kill()
            self._client.wait()
            os.close(self.client_ended)
            os.close(self._said)
            self.client_ended = -1

    def is_continued_by(self, pid: int) -> None:
        """`pid` is 0 where our program goes on itself."""
        self.pid = pid or self.pid

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.descriptor, signal.SIGKILL)

    def finish(self) -> int:
        os.close(self.descriptor)
        return 0
