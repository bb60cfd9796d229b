"""PURE: one request to the API server as a value, and the resources that are asked about."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
"""An object as the server sends it; never changed in place."""


@dataclass(frozen=True)
class Where:
    """Which cluster and namespace, in the user's words."""

    context: str
    namespace: str
    server: str


@dataclass(frozen=True)
class Resource:
    """A plural as it stands in URLs and in RBAC rules; `singular` is for people."""

    plural: str
    singular: str
    group: str = ""
    version: str = "v1"
    namespaced: bool = True


PODS = Resource("pods", "pod")
SERVICES = Resource("services", "service")
NAMESPACES = Resource("namespaces", "namespace", namespaced=False)
DEPLOYMENTS = Resource("deployments", "deployment", "apps")
REPLICASETS = Resource("replicasets", "replicaset", "apps")
REPLICATIONCONTROLLERS = Resource("replicationcontrollers", "replicationcontroller")
CLAIMS = Resource("persistentvolumeclaims", "persistentvolumeclaim")
STATEFULSETS = Resource("statefulsets", "statefulset", "apps")
DAEMONSETS = Resource("daemonsets", "daemonset", "apps")
JOBS = Resource("jobs", "job", "batch")
CRONJOBS = Resource("cronjobs", "cronjob", "batch")
EVENTS = Resource("events", "event")
SERVICEACCOUNTS = Resource("serviceaccounts", "serviceaccount")
RULES_REVIEWS = Resource(
    "selfsubjectrulesreviews", "review of rights", "authorization.k8s.io", namespaced=False
)
ACCESS_REVIEWS = Resource(
    "selfsubjectaccessreviews", "review of rights", "authorization.k8s.io", namespaced=False
)

METHODS = {
    "get": "GET",
    "list": "GET",
    "watch": "GET",
    "create": "POST",
    "patch": "PATCH",
    "delete": "DELETE",
}


@dataclass(frozen=True)
class Call:
    """`verb` as RBAC says: get, list, watch, create, patch (a JSON merge patch) or delete.

    Of an `abandonable` change nobody need know whether it was made: who waits for it may leave.
    """

    verb: str
    resource: Resource
    name: str = ""
    subresource: str = ""
    query: tuple[tuple[str, str], ...] = ()
    body: Json | None = field(default=None, repr=False)
    abandonable: bool = False

    @property
    def method(self) -> str:
        return METHODS[self.verb]

    @property
    def changes_something(self) -> bool:
        return self.method != "GET" and ("dryRun", "All") not in self.query

    def path(self, namespace: str) -> str:
        group = self.resource.group
        root = f"/apis/{group}/{self.resource.version}" if group else f"/api/{self.resource.version}"
        scope = f"namespaces/{namespace}" if self.resource.namespaced else ""
        parts = (root, scope, self.resource.plural, self.name, self.subresource)
        return "/".join(part for part in parts if part)

    @property
    def rbac_resource(self) -> str:
        """As `kubectl auth can-i` takes it: deployments.apps, pods/log."""
        named = (
            f"{self.resource.plural}.{self.resource.group}" if self.resource.group else self.resource.plural
        )
        return f"{named}/{self.subresource}" if self.subresource else named

    @property
    def what(self) -> str:
        """The verb and its object, for the middle of a sentence."""
        named = f"{self.resource.singular} {self.name}" if self.name else self.resource.plural
        part = f" ({self.subresource})" if self.subresource else ""
        return f"{self.verb} {named}{part}"
