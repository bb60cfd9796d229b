"""What must be true after a session, however it ended: the workload as before, and nothing of ours left."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from integration.support.namespaces import Namespace
from integration.support.product import SECONDS, Product
from integration.support.waiting import wait_until

SESSION_LABEL = "telepresence-py/session"


@dataclass(frozen=True)
class Before:
    """A workload as it was before anything was done to it; its pods have the label `app: NAME`.

    `thing` is what `kubectl get` takes: `deployment/orders`.
    """

    namespace: Namespace
    thing: str
    name: str
    generation: int
    spec: Any

    @property
    def replicas(self) -> int:
        return int(self.spec["replicas"])


def remember(namespace: Namespace, name: str, thing: str = "") -> Before:
    """`thing` is `deployment/NAME` unless told."""
    thing = thing or f"deployment/{name}"
    found = namespace.get(thing)
    return Before(namespace, thing, name, found["metadata"]["generation"], found["spec"])


def assert_restored(before: Before, seconds: float = SECONDS) -> None:
    """As many originals as before and all Ready, no pod of ours in any state, the object never edited."""

    def restored() -> bool:
        ours, originals = _pods(before)
        return not ours and len(originals) == before.replicas and all(map(is_ready, originals))

    wait_until(
        restored,
        seconds,
        f"{before.thing} is back and nothing of ours is left",
        seen=lambda: before.namespace.kubectl("get", "pods", "--show-labels", "-o", "wide"),
    )
    now = before.namespace.get(before.thing)
    assert now["metadata"]["generation"] == before.generation, "the workload object was edited"
    assert now["spec"] == before.spec


def assert_nothing_touched(before: Before) -> None:
    """No pod of ours is there, and the originals are Ready: right now, without waiting."""
    ours, originals = _pods(before)
    assert not ours, [pod["metadata"]["name"] for pod in ours]
    assert len(originals) == before.replicas
    assert all(map(is_ready, originals))


def assert_no_process_left(product: Product, seconds: float = SECONDS) -> None:
    """Nobody runs who was started, directly or not, by this product; its runtime directory is empty."""
    wait_until(
        lambda: not processes_of(product),
        seconds,
        "every process has ended",
        seen=lambda: processes_of(product),
    )
    left = [path for path in (product.directory / "run").rglob("*") if path.is_file() or path.is_socket()]
    assert not [path for path in left if path.suffix != ".log"], left


def processes_of(product: Product) -> list[str]:
    """Command lines of the processes whose environment names this product's runtime directory."""
    mark = f"XDG_RUNTIME_DIR={product.directory / 'run'}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                found.append(f"{entry.name}: {b' '.join(words).decode(errors='replace')}")
        except OSError:
            continue
    return found


def sidecar_pods(namespace: Namespace, workload: str = "") -> list[dict[str, Any]]:
    """Pods of ours in that namespace, finished ones too; of one workload, or of all."""
    return namespace.pods(f"{SESSION_LABEL},app={workload}" if workload else SESSION_LABEL)


def is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _pods(before: Before) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    pods = before.namespace.pods(f"app={before.name}")
    ours = [pod for pod in pods if SESSION_LABEL in pod["metadata"]["labels"]]
    leaving = [pod for pod in pods if pod["metadata"].get("deletionTimestamp")]
    return ours, [pod for pod in pods if pod not in ours and pod not in leaving]
