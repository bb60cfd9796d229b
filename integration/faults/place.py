"""Where somebody dies: a workload under load, seen through a gate, and a watch that sees how it changes."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from integration.faults.gate import Gate
from integration.faults.points import REPLICAS
from integration.probe.asking import Probe
from integration.probe.flowing import outside, ports
from integration.probe.manifests import Workload, probe_config_map, service
from integration.probe.town import settle
from integration.support.aftermath import Before, is_ready, remember, sidecar_pods
from integration.support.namespaces import Namespace, Tally
from integration.support.plain_user import PlainUser
from integration.support.product import Product, product_for
from integration.support.waiting import wait_until

NAME = "mortal"
URL = f"http://{NAME}/"
PEER = "far"
ECHO = 7000
CUSTOMERS = 3
PAUSE = 0.05
_WATCHED = r'{.metadata.generation} {.metadata.labels} {.metadata.annotations} {.spec}{"\n"}'


@dataclass(frozen=True)
class Place:
    """`product` is behind the gate, `colleague` on another machine. `outside` asks flow.py in the pod of
    PEER; `versions` is what a watch saw of the workload, a line each."""

    namespace: Namespace
    before: Before
    gate: Gate
    product: Product
    colleague: Product
    outside: Probe
    versions: Path

    def is_back(self) -> bool:
        """As many originals as before, all Ready, and nobody of ours who is not finished."""
        ours = [pod for pod in sidecar_pods(self.namespace, NAME) if not is_finished(pod)]
        return not ours and self.has_originals()

    def has_originals(self) -> bool:
        """The right number, all Ready."""
        pods = [pod for pod in self.namespace.pods(f"app={NAME}") if not is_ours(pod) and not is_leaving(pod)]
        return len(pods) == self.before.replicas and all(map(is_ready, pods))

    def is_in_our_hands(self) -> bool:
        """As many sidecars as replicas, all Ready, and no original."""
        pods = [
            pod for pod in self.namespace.pods(f"app={NAME}") if not is_finished(pod) and not is_leaving(pod)
        ]
        return len(pods) == self.before.replicas and all(is_ours(pod) and is_ready(pod) for pod in pods)

    def under_load(self) -> contextlib.AbstractContextManager[Tally]:
        return self.namespace.load(URL, CUSTOMERS, PAUSE)

    def describe(self) -> str:
        return self.namespace.kubectl("get", "pods", "--show-labels", "-o", "wide")

    def assert_never_edited(self) -> None:
        """Generation, labels, annotations and spec of the workload in each version of it that there was."""
        seen = set(self.versions.read_text().splitlines())
        assert len(seen) == 1, seen


def is_ours(pod: dict[str, Any]) -> bool:
    return "telepresence-py/session" in pod["metadata"]["labels"]


def is_leaving(pod: dict[str, Any]) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def is_finished(pod: dict[str, Any]) -> bool:
    return pod["status"]["phase"] in ("Succeeded", "Failed")


@contextlib.contextmanager
def place_for(namespace: Namespace, user: PlainUser) -> Iterator[Place]:
    front = service(NAME, 80, 8080)
    front["spec"]["ports"] += ports({"echo": ECHO})
    container_ports = ({"name": "http", "containerPort": 8080}, {"name": "echo", "containerPort": ECHO})
    mortal = Workload(
        NAME, REPLICAS, ports=container_ports, service=False, pod={"terminationGracePeriodSeconds": 2}
    )
    command = ["python3", "/probe/flow.py", "--stay", f"echo:{ECHO}"]
    far = Workload(PEER, container={"command": command}, listen=(), service=False)
    reach = service(PEER, ECHO, ECHO)
    settle(namespace, probe_config_map(), front, reach, *far.objects(), *mortal.objects())
    namespace.ensure_customers_pod()
    before = remember(namespace, NAME)
    kubeconfig = namespace.developer_kubeconfig()
    with (
        Gate(kubeconfig) as gate,
        product_for(user, gate.through(kubeconfig)) as product,
        product_for(user, kubeconfig) as colleague,
        outside(namespace) as asked,
        _versions(namespace) as versions,
    ):
        yield Place(namespace, before, gate, product, colleague, asked, versions)


@contextlib.contextmanager
def _versions(namespace: Namespace) -> Iterator[Path]:
    words = ("-n", namespace.name, "get", f"deployment/{NAME}", "--watch", "-o", f"jsonpath={_WATCHED}")
    with tempfile.NamedTemporaryFile("w+") as told:
        with subprocess.Popen(namespace.cluster.kubectl_command(*words), stdout=told) as watching:
            try:
                path = Path(told.name)
                wait_until(path.read_text, 20, "the watch tells how the workload is")
                yield path
            finally:
                watching.kill()
