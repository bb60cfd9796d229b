"""A private registry of images (Debian's docker-registry), at one loopback address here and on every node.

It wants a login and speaks plain HTTP, which runtimes accept from loopback addresses: so a node pulls from it
as from any private registry. The processes, one in each network namespace, share their storage.
"""

from __future__ import annotations

import base64
import contextlib
import json
import signal
import socket
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from integration.support.cluster import Cluster
from integration.support.programs import ensure
from integration.support.waiting import wait_until

USER, PASSWORD = "team", "secret"
_HASH = "$2b$04$7La1kkpCLkqwcz0IYs7jGuzVkgUTfo.y1Bi3EyDhNG/mjjBuAR4ZG"  # bcrypt of PASSWORD
_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)


@dataclass(frozen=True)
class Registry:
    """`host` is HOST:PORT, the same here and on the nodes; `directory` is removed with the registry."""

    host: str
    directory: Path

    def manifest(self, repository: str, tag: str) -> tuple[str, Any]:
        """Digest and content of what the tag names, by the registry's HTTP API."""
        headers = {"Accept": ", ".join(_MANIFESTS), "Authorization": f"Basic {_login()}"}
        url = f"http://{self.host}/v2/{repository}/manifests/{tag}"
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return answer.headers["Docker-Content-Digest"], json.load(answer)

    def requests(self) -> list[str]:
        """`METHOD PATH` of every request that this machine's process has answered."""
        lines = (self.directory / "log").read_text(errors="replace").splitlines()
        quoted = (line.split('"')[1] for line in lines if '] "' in line)
        return [request.rpartition(" ")[0] for request in quoted]

    def pull_secret(self, name: str) -> dict[str, Any]:
        """A Secret with which a node may pull."""
        logins = json.dumps({"auths": {self.host: {"auth": _login()}}})
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name},
            "type": "kubernetes.io/dockerconfigjson",
            "stringData": {".dockerconfigjson": logins},
        }


@contextlib.contextmanager
def registry_for(cluster: Cluster) -> Iterator[Registry]:
    """The registry for the project's own cluster; the images that nodes have from it are removed with it."""
    ensure("registry", may_install=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
    assert cluster.kubeconfig is not None, "the project's own cluster, on whose nodes the registry is"
    state = cluster.kubeconfig.parent
    processes: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory(prefix="telepresence-py-registry-") as name:
        registry = Registry(host, Path(name))
        serve = _serve_command(registry)
        try:
            for pid in [None, *sorted((state / "pid").glob("containerd-*"))]:
                enter = [] if pid is None else ["nsenter", "--target", pid.read_text().strip(), "--net"]
                log = registry.directory / ("log" if pid is None else f"log-{pid.name}")
                with log.open("wb") as stream:
                    processes.append(subprocess.Popen([*enter, *serve], stdout=stream, stderr=stream))
                wait_until(partial(_listens, log), 10, f"{log} tells of a registry")
            wait_until(lambda: _answers(registry), 10, "the registry answers")
            yield registry
        finally:
            for process in processes:
                process.send_signal(signal.SIGTERM)
                process.wait(10)
            for node_socket in state.glob("node*/containerd.sock"):
                _remove_images(node_socket, host)


def _serve_command(registry: Registry) -> list[str]:
    (registry.directory / "htpasswd").write_text(f"{USER}:{_HASH}\n")
    settings = {
        "version": "0.1",
        "log": {"level": "info"},
        "storage": {"filesystem": {"rootdirectory": str(registry.directory / "storage")}},
        "http": {"addr": registry.host},
        "auth": {"htpasswd": {"realm": "team", "path": str(registry.directory / "htpasswd")}},
    }
    path = registry.directory / "settings.yml"
    path.write_text(json.dumps(settings))  # JSON is YAML
    return ["docker-registry", "serve", str(path)]


def _listens(log: Path) -> bool:
    return "listening on" in log.read_text(errors="replace")


def _answers(registry: Registry) -> bool:
    try:
        urllib.request.urlopen(f"http://{registry.host}/v2/", timeout=2)
    except urllib.error.HTTPError as error:
        return error.code == 401
    except OSError:
        return False
    return False


def _login() -> str:
    return base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


def _remove_images(node_socket: Path, host: str) -> None:
    ctr = ["ctr", "-a", str(node_socket), "-n", "k8s.io", "images"]
    listed = subprocess.run([*ctr, "ls", "-q"], capture_output=True, text=True, check=True).stdout
    ours = [name for name in listed.split() if name.startswith(f"{host}/")]
    if ours:
        subprocess.run([*ctr, "rm", *ours], check=True, stdout=subprocess.DEVNULL)
