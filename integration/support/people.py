"""Users of the cluster whom a test makes: by service account tokens, and by client certificates."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

from integration.support.namespaces import Namespace
from tests.fakes.certificates import authority_in

RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True)
class Person:
    """Somebody with the ClusterRole `edit` in one namespace. Certificate and key are PEM, or empty."""

    namespace: Namespace
    name: str
    token: str = ""
    certificate: str = field(default="", repr=False)
    key: str = field(default="", repr=False)

    def kubeconfig(self, user: dict[str, Any], **cluster: Any) -> dict[str, Any]:
        """With that user entry; `cluster` is laid over the cluster entry (None takes a field away)."""
        address = {**self.namespace.cluster.address(), **cluster}
        context = {"cluster": "tests", "user": self.name, "namespace": self.namespace.name}
        entry = {key: value for key, value in address.items() if value is not None}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tests", "cluster": entry}],
            "users": [{"name": self.name, "user": user}],
            "contexts": [{"name": "tests", "context": context}],
            "current-context": "tests",
        }

    def lose_rights(self) -> None:
        """From now on the API server refuses this person everything."""
        self.namespace.kubectl("delete", "rolebinding", self.name)


def person_with_token(namespace: Namespace, name: str) -> Person:
    """A service account; the token holds for an hour."""
    account = {"kind": "ServiceAccount", "name": name, "namespace": namespace.name}
    namespace.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}, _may_edit(name, account)
    )
    token = namespace.kubectl("create", "token", name, "--duration=1h").strip()
    return Person(namespace, name, token=token)


def person_with_certificate(namespace: Namespace, name: str) -> Person:
    """A user by a certificate's common name; it needs the authority's key, which the own cluster has."""
    user = f"{name}-{secrets.token_hex(3)}"
    namespace.apply(_may_edit(name, {"kind": "User", "apiGroup": RBAC, "name": user}))
    assert namespace.cluster.kubeconfig is not None
    authority = authority_in(namespace.cluster.kubeconfig.parent / "pki")
    certificate, key = authority.certify(user)
    return Person(namespace, name, certificate=certificate.decode(), key=key.decode())


def _may_edit(name: str, subject: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "edit"},
        "subjects": [subject],
    }
