"""The cluster that the tests use: the project's own, or a context of the user's that was named."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3

ROOT = Path(__file__).resolve().parents[2]
CLUSTER_TOOL = ROOT / "integration" / "cluster" / "cluster"


class KubectlFailed(Exception):
    """kubectl said no, or the API server to ourselves; the message has its words."""


def cache_directory() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "telepresence-py"


def cluster_tool(*arguments: str, seconds: float = 1800, environment: dict[str, str] | None = None) -> str:
    """What integration/cluster/cluster prints on stdout; its progress goes to our stderr."""
    done = subprocess.run(
        [str(CLUSTER_TOOL), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        timeout=seconds,
        check=True,
        env=os.environ | (environment or {}),
    )
    return done.stdout


@dataclass(frozen=True)
class Cluster:
    """Somebody with all rights on a cluster. `context` is empty for the project's own."""

    context: str
    kubeconfig: Path | None
    kubectl_program: str

    def kubectl(self, *arguments: str, stdin: str | None = None, seconds: float = 120) -> str:
        """stdout of one kubectl command; KubectlFailed with its stderr when it fails."""
        done = subprocess.run(
            self.kubectl_command(*arguments),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if done.returncode:
            raise KubectlFailed(f"kubectl {' '.join(arguments)[:300]}: {done.stderr.strip()[-2000:]}")
        return done.stdout

    def kubectl_command(self, *arguments: str) -> list[str]:
        """The command line, for those who need the process itself."""
        which = ["--kubeconfig", str(self.kubeconfig)] if self.kubeconfig else ["--context", self.context]
        return [self.kubectl_program, *which, *arguments]

    def get(self, *arguments: str) -> Any:
        """The object, or the list's items, that `kubectl get ARGUMENTS` finds."""
        found = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return found["items"] if found["kind"] == "List" else found

    def read(self, path: str, **parameters: str) -> Any:
        """What is at that path of the API; for what is asked again and again, as a start of kubectl costs
        more than the answer. KubectlFailed as there."""
        asked = f"{path}?{urlencode(parameters)}"
        if self._connections is None:
            return json.loads(self.kubectl("get", "--raw", asked))
        try:
            answer = self._connections.request("GET", self.address()["server"] + asked, timeout=60)
        except urllib3.exceptions.HTTPError as error:
            raise KubectlFailed(f"GET {asked}: {error}") from error
        if answer.status != 200:
            raise KubectlFailed(f"GET {asked}: {answer.data[-2000:].decode(errors='replace')}")
        return answer.json()

    @cached_property
    def _connections(self) -> urllib3.PoolManager | None:
        """Where a token is all that it takes; kubectl knows every other way to log in."""
        entry, authority = self._view["users"][0]["user"], self.address().get("certificate-authority-data")
        if set(entry) != {"token"} or authority is None:
            return None
        return urllib3.PoolManager(
            ca_cert_data=base64.b64decode(authority).decode(),
            headers={"Authorization": f"Bearer {entry['token']}"},
        )

    def address(self) -> dict[str, Any]:
        """The `cluster` entry of the kubeconfig: server and certificate authority."""
        entry: dict[str, Any] = self._view["clusters"][0]["cluster"]
        return dict(entry)

    @cached_property
    def _view(self) -> Any:
        return json.loads(self.kubectl("config", "view", "--raw", "--minify", "-o", "json"))

    @property
    def is_own(self) -> bool:
        """Whether it is the project's own, which a test may load images into and restart parts of."""
        return self.kubeconfig is not None


def own_cluster() -> Cluster:
    """The project's own, brought up (2 nodes) unless it already runs; needs root."""
    cluster_tool("up", "2")
    return running_own_cluster()


def running_own_cluster() -> Cluster:
    """The project's own, which runs."""
    variables = dict(
        word.split("=", 1) for word in cluster_tool("env").replace("export ", "").split() if "=" in word
    )
    kubectl = Path(variables["PATH"].partition(":")[0]) / "kubectl"
    return Cluster("", Path(variables["KUBECONFIG"]), str(kubectl))


def named_cluster(context: str) -> Cluster:
    """A context of the user's kubeconfig, as it is."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        candidates = sorted((cache_directory() / "cluster").glob("bin-*/kubectl"))
        if not candidates:
            raise KubectlFailed("no kubectl on the PATH, which --context needs")
        kubectl = str(candidates[-1])
    cluster = Cluster(context, None, kubectl)
    cluster.kubectl("get", "--raw", "/version")
    return cluster
