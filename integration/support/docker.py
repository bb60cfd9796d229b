"""A docker daemon of the tests' own, beside whatever else runs here, and a plain user who may use it.

The machine is one where the kernel keeps user namespaces from plain users (refused_product.py). Debian's
docker is unpacked beside the system and not installed, as that would start a daemon for everybody.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from integration.support.cluster import Cluster
from integration.support.containers import CHANGES, IMAGE, root_file_system
from integration.support.plain_user import HOME, SYSTEM_PATH
from integration.support.product import Product
from integration.support.programs import Need, unpack_packages
from integration.support.refused_product import RefusedProduct, refused_product
from integration.support.waiting import wait_until

_DOCKER = HOME.parent / "docker"
_PATH = f"{_DOCKER}/usr/bin:{_DOCKER}/usr/sbin:{SYSTEM_PATH}"
_CGROUP = "telepresence-py-test-docker"


@dataclass
class DockerProduct(RefusedProduct):
    """`docker` asks the daemon at `docker_socket` as this user."""

    docker_socket: Path = Path()

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        own = {
            "PATH": f"{self.user.venv}/bin:{_PATH}",
            "DOCKER_HOST": f"unix://{self.docker_socket}",
        }
        return super().environment({**own, **(more or {})})

    def docker(self, *words: str, stdin: bytes = b"", seconds: float = 60) -> str:
        done = subprocess.run(
            ("docker", *words),
            input=stdin,
            capture_output=True,
            cwd=self.directory,
            executable=f"{_DOCKER}/usr/bin/docker",
            env=self.environment(),
            user=self.user.uid,
            group=self.user.gid,
            extra_groups=[],
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, f"docker {' '.join(words)}: {done.stderr.decode(errors='replace')}"
        return done.stdout.decode()

    def containers(self) -> list[str]:
        """Names of all that docker knows, running or not."""
        return self.docker("ps", "--all", "--format", "{{.Names}}").splitlines()

    def wait_no_container(self) -> None:
        wait_until(lambda: not self.containers(), 60, "docker removed every container", seen=self.containers)


@contextlib.contextmanager
def docker_product(product: Product, cluster: Cluster, need: Need) -> Iterator[DockerProduct]:
    """The same user, kubeconfig and directories, with a daemon that has IMAGE; the daemon ends after it."""
    if os.geteuid() != 0 or not cluster.is_own:
        pytest.skip("a docker daemon is started on the project's own machine alone")
    _ensure_docker(need)
    plain = refused_product(product)
    with tempfile.TemporaryDirectory(prefix="tp-docker-") as name:
        place = Path(name)
        place.chmod(0o755)
        with _daemon(place, plain.user.gid):
            fields = {each.name: getattr(plain, each.name) for each in dataclasses.fields(Product)}
            own = DockerProduct(**fields, docker_socket=place / "docker.sock")
            try:
                own.docker("import", *CHANGES, "-", IMAGE, stdin=root_file_system())
                yield own
            finally:
                own.end_all()
                own.wait_no_container()


def _ensure_docker(need: Need) -> None:
    need("what docker needs")
    unpack_packages(_DOCKER, "docker.io")


@contextlib.contextmanager
def _daemon(place: Path, group: int) -> Iterator[None]:
    """It listens at PLACE/docker.sock, for that group, has a containerd of its own and no network."""
    socket = place / "docker.sock"
    command = [
        f"{_DOCKER}/usr/sbin/dockerd",
        *("--data-root", str(place / "data"), "--exec-root", str(place / "exec")),
        *("--host", f"unix://{socket}", "--group", str(group), "--pidfile", str(place / "pid")),
        *("--storage-driver", "vfs", "--bridge=none", "--iptables=false", "--ip6tables=false"),
        f"--cgroup-parent=/{_CGROUP}",
    ]
    environment = {"PATH": _PATH, "DOCKER_TMPDIR": str(place / "tmp"), "HOME": str(place)}
    log = place / "log"
    with log.open("wb") as stream:
        daemon = subprocess.Popen(command, env=environment, stdout=stream, stderr=stream, cwd=place)
    try:
        wait_until(socket.exists, 60, "docker's daemon listens", seen=lambda: log.read_text(errors="replace"))
        yield
    finally:
        daemon.terminate()
        daemon.wait(60)
        for group_of_processes in Path("/sys/fs/cgroup").glob(f"**/{_CGROUP}"):
            group_of_processes.rmdir()
        shutil.rmtree(place / "exec", ignore_errors=True)
