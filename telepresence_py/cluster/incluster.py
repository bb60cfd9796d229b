"""The service account of a pod, where the program runs in one and there is no kubeconfig; as kubectl does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from telepresence_py.cluster.entries import ClusterEntry, Pem, UserEntry, read_pem

CONTEXT = "in-cluster"
DIRECTORY = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True)
class ServiceAccount:
    """`namespace` is the pod's own."""

    namespace: str
    cluster: ClusterEntry
    user: UserEntry


def find_service_account(environment: Mapping[str, str], directory: Path) -> ServiceAccount | None:
    """None outside of a pod. ClusterUnreachable when its certificate authority cannot be read."""
    host, port = (environment.get(f"KUBERNETES_SERVICE_{part}") for part in ("HOST", "PORT"))
    token = directory / "token"
    if not host or not port or not token.is_file():
        return None
    address = f"[{host}]" if ":" in host else host
    authority = read_pem(Pem(path=str(directory / "ca.crt")), "certificate authority of the pod")
    return ServiceAccount(
        environment.get("POD_NAMESPACE") or _namespace(directory) or "default",
        ClusterEntry(CONTEXT, f"https://{address}:{port}", authority=authority),
        UserEntry(token_path=str(token)),
    )


def _namespace(directory: Path) -> str:
    try:
        return (directory / "namespace").read_text().strip()
    except OSError:
        return ""
