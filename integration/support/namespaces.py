"""A namespace of a test's own, a developer who may edit in it and nowhere else, and customers inside."""

from __future__ import annotations

import contextlib
import json
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from integration.probe.asking import LOAD
from integration.probe.manifests import BASE_IMAGE, RESTRICTED
from integration.support.cluster import Cluster, KubectlFailed
from integration.support.waiting import wait_until

DEVELOPER = "developer"
OFTEN_ASKED_FOR = {"pod": "api/v1", "service": "api/v1", "deployment": "apis/apps/v1"}
"""The path to each such kind."""


@dataclass
class Tally:
    """What continuous load saw; complete once the load has ended. `answers`: who answered, how often;
    `failed_at`: when each failure was, in seconds since the start."""

    requests: int = 0
    answers: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    longest: float = 0.0
    failed_at: list[float] = field(default_factory=list)

    def longest_refusal(self) -> float:
        """Seconds of the longest time in which never a whole second passed without a failure."""
        longest, since, last = 0.0, 0.0, float("-inf")
        for at in sorted(self.failed_at):
            if at - last > 1.0:
                since = at
            longest, last = max(longest, at - since), at
        return longest


@dataclass(frozen=True)
class Namespace:
    """One namespace, seen by somebody with all rights."""

    cluster: Cluster
    name: str

    def kubectl(self, *arguments: str, stdin: str | None = None, seconds: float = 120) -> str:
        return self.cluster.kubectl("-n", self.name, *arguments, stdin=stdin, seconds=seconds)

    def get(self, *arguments: str) -> Any:
        """As `Cluster.get`, without kubectl for one object of a kind that is often asked for."""
        kind, _, name = "/".join(arguments).partition("/")
        if kind in OFTEN_ASKED_FOR and name and not name.startswith("-"):
            group = OFTEN_ASKED_FOR[kind]
            return self.cluster.read(f"/{group}/namespaces/{self.name}/{kind}s/{name}")
        return self.cluster.get("-n", self.name, *arguments)

    def apply(self, *objects: dict[str, Any]) -> None:
        """Create or change objects, given as they would stand in a manifest."""
        self.kubectl(
            "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        )

    def wait_rolled_out(self, deployment: str, seconds: float = 240) -> None:
        """Until every replica of the newest template is Ready and no other is left."""
        self.kubectl(
            "rollout", "status", f"deployment/{deployment}", f"--timeout={seconds:g}s", seconds=seconds + 10
        )

    def pods(self, selector: str = "") -> list[dict[str, Any]]:
        """All pods that match, finished and leaving ones too, by name."""
        path, which = f"/api/v1/namespaces/{self.name}/pods", {"labelSelector": selector} if selector else {}
        found: list[dict[str, Any]] = self.cluster.read(path, **which)["items"]
        return sorted(found, key=lambda pod: pod["metadata"]["name"])

    def in_pod(self, pod: str, *command: str, stdin: str | None = None, seconds: float = 120) -> str:
        """stdout of a command run in a pod (`deployment/orders` will do)."""
        flags = ["-i"] if stdin is not None else []
        return self.kubectl("exec", *flags, pod, "--", *command, stdin=stdin, seconds=seconds)

    def python_in_pod(self, pod: str, program: str, *arguments: str, seconds: float = 60) -> str:
        return self.in_pod(pod, "python3", "-", *arguments, stdin=program, seconds=seconds)

    def developer_kubeconfig(self, role: str = "edit") -> dict[str, Any]:
        """A kubeconfig of somebody who has that ClusterRole in this namespace and no other right."""
        return self._kubeconfig(f"{DEVELOPER}-{role}", {"kind": "ClusterRole", "name": role})

    def kubeconfig_with(self, rules: list[dict[str, Any]]) -> dict[str, Any]:
        """A kubeconfig of somebody who has exactly these rights, in this namespace."""
        name = f"{DEVELOPER}-{secrets.token_hex(3)}"
        kind = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role"}
        self.apply({**kind, "metadata": {"name": name}, "rules": rules})
        return self._kubeconfig(name, {"kind": "Role", "name": name})

    def _kubeconfig(self, name: str, role: dict[str, str]) -> dict[str, Any]:
        account = {"kind": "ServiceAccount", "name": name, "namespace": self.name}
        self.apply(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}},
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "RoleBinding",
                "metadata": {"name": name},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", **role},
                "subjects": [account],
            },
        )
        token = self.kubectl("create", "token", name, "--duration=2h").strip()
        context = {"cluster": "tests", "user": DEVELOPER, "namespace": self.name}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tests", "cluster": self.cluster.address()}],
            "users": [{"name": DEVELOPER, "user": {"token": token}}],
            "contexts": [{"name": "tests", "context": context}],
            "current-context": "tests",
        }

    @contextlib.contextmanager
    def load(self, url: str, customers: int = 4, pause: float = 0.02) -> Iterator[Tally]:
        """Customers in a pod of this namespace who ask `url` on and on; read the tally after the end."""
        self.ensure_customers_pod()
        tally = Tally()
        command = self.cluster.kubectl_command(
            "-n", self.name, "exec", "-i", "customers", "--",
            "python3", "-c", LOAD.read_text(), url, str(customers), str(pause),
        )  # fmt: skip
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as asking:
            assert asking.stdout is not None
            assert asking.stdout.readline() == "started\n", "the customers did not start"
            try:
                yield tally
            finally:
                said, _ = asking.communicate(timeout=90)
        counted = json.loads(said.splitlines()[-1])
        tally.requests, tally.answers = counted["requests"], counted["answers"]
        tally.failures, tally.longest = counted["failures"], counted["longest"]
        tally.failed_at = counted["failed_at"]

    def ensure_customers_pod(self) -> str:
        """A pod that only waits to be exec'd into, as customers or as one who asks; its name."""
        container = {
            "name": "customers",
            "image": BASE_IMAGE,
            "command": ["python3", "-c", "import signal; signal.sigwait([signal.SIGTERM])"],
            "securityContext": RESTRICTED,
        }
        self.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "customers", "labels": {"app": "customers"}},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
            }
        )
        self.kubectl("wait", "--for=condition=Ready", "pod/customers", "--timeout=240s", seconds=250)
        return "customers"

    def ask(self, url: str, seconds: float = 20) -> str:
        """The body of the answer to one GET from inside the cluster; needs `ensure_customers_pod`."""
        program = (
            "import sys, urllib.request as r\n"
            f"print(r.urlopen(sys.argv[1], timeout={seconds}).read().decode(), end='')"
        )
        return self.python_in_pod("customers", program, url, seconds=seconds + 10)


def make_namespace(cluster: Cluster, purpose: str, pod_security: str = "") -> Namespace:
    """A fresh namespace in which pods can be made; `pod_security` is a level to enforce: `restricted`."""
    name = f"tp-test-{purpose[:30]}-{secrets.token_hex(3)}"
    labels = {"telepresence-py-test": "true"}
    if pod_security:
        labels["pod-security.kubernetes.io/enforce"] = pod_security
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(body))
    namespace = Namespace(cluster, name)

    def has_service_account() -> bool:
        with contextlib.suppress(KubectlFailed):
            for made in ("serviceaccounts/default", "configmaps/kube-root-ca.crt"):
                cluster.read(f"/api/v1/namespaces/{name}/{made}")
            return True
        return False

    wait_until(has_service_account, 60, f"the default service account of {name}")
    return namespace


def remove_namespace(namespace: Namespace) -> None:
    """Begin to delete it and all that is in it; nobody waits for the end."""
    namespace.kubectl("delete", "pods", "--all", "--wait=false", "--grace-period=1")
    namespace.cluster.kubectl("delete", "namespace", namespace.name, "--wait=false")


def write_kubeconfig(path: Path, content: dict[str, Any]) -> None:
    """For the caller alone (0600)."""
    path.touch(mode=0o600)
    path.write_text(json.dumps(content))
