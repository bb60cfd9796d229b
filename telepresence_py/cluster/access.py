"""Which rights the user has, asked beforehand, so that nothing is half done for want of one."""

from __future__ import annotations

from dataclasses import dataclass

from telepresence_py.cluster.calls import ACCESS_REVIEWS, RULES_REVIEWS, Call, Json
from telepresence_py.cluster.client import Cluster
from telepresence_py.cluster.refusals import no_rights


@dataclass(frozen=True)
class Right:
    verb: str
    resource: str  # pods, pods/log
    group: str = ""

    @property
    def rbac_resource(self) -> str:
        resource, slash, subresource = self.resource.partition("/")
        return (f"{resource}.{self.group}" if self.group else resource) + slash + subresource


SIDECAR_RIGHTS = (
    *(Right(verb, "pods") for verb in ("get", "list", "watch", "create", "delete")),
    Right("get", "pods/log"),
    Right("get", "pods/portforward"),
)
"""What no session can do without. From Kubernetes 1.35 on `create pods/portforward` is needed too."""

POD_RIGHTS = (Right("list", "services"), *SIDECAR_RIGHTS, Right("patch", "pods"))
"""What no swap can do without."""

FILE_RIGHTS = (Right("get", "pods/exec"), Right("create", "pods/exec"))
"""What reading files of a running container needs. Before Kubernetes 1.35 the first is enough for us, and the
second for other programs: roles have both, or neither."""

SERVICE_RIGHTS = (Right("get", "services"), Right("create", "services"))
"""What a pod with a Service of its own needs besides."""

OWNER_RIGHTS = {
    "deployment": (Right("get", "deployments", "apps"), Right("list", "replicasets", "apps")),
    "replicaset": (Right("get", "replicasets", "apps"),),
    "replicationcontroller": (Right("get", "replicationcontrollers"),),
}
MODEL_RIGHTS = OWNER_RIGHTS | {
    "deployment": (Right("get", "deployments", "apps"),),
    "statefulset": (Right("get", "statefulsets", "apps"),),
    "daemonset": (Right("get", "daemonsets", "apps"),),
    "job": (Right("get", "jobs", "batch"),),
    "cronjob": (Right("get", "cronjobs", "batch"),),
    "pod": (),
}
CUSTOM_RIGHTS = (Right("list", "replicasets", "apps"),)


def swap_rights(kind: str, with_files: bool = False) -> tuple[Right, ...]:
    """PURE: what a swap of a workload of that kind needs, with or without files of its container; of a
    custom resource, its ReplicaSets alone.

    What has no parent, or has a deployment for one, is found out by reading it: `get serviceaccounts` is
    needed for the first, the rights for a deployment for the second.
    """
    return (*OWNER_RIGHTS.get(kind, CUSTOM_RIGHTS), *POD_RIGHTS, *(FILE_RIGHTS if with_files else ()))


def run_rights(like_kind: str | None, with_service: bool, with_files: bool = False) -> tuple[Right, ...]:
    """PURE: what a pod of its own needs, made like an object of that kind, with or without a Service, and
    files of that object's container.

    Whether claims and a service account must be read turns out by reading: `get persistentvolumeclaims`,
    `get serviceaccounts`.
    """
    model: tuple[Right, ...] = ()
    if like_kind is not None:
        model = (*MODEL_RIGHTS.get(like_kind, CUSTOM_RIGHTS), Right("list", "services"))
    more = (*(SERVICE_RIGHTS if with_service else ()), *(FILE_RIGHTS if with_files else ()))
    return (*model, *SIDECAR_RIGHTS, *more)


async def require_rights(cluster: Cluster, rights: tuple[Right, ...]) -> None:
    """NoRights naming verb, resource and namespace of the first right that the user lacks.

    One request when nothing is lacking. The server's list of rules may be incomplete, so what is not in it is
    asked for one by one.
    """
    review = {"spec": {"namespace": cluster.namespace}}
    answer = await cluster.call(Call("create", RULES_REVIEWS, body=review), accept={403, 404})
    rules = answer.json.get("status", {}).get("resourceRules") or []
    for right in rights:
        if not allowed_by(rules, right) and not await _is_allowed(cluster, right):
            raise no_rights(right.verb, right.rbac_resource, cluster.where)


def allowed_by(rules: list[Json], right: Right) -> bool:
    """PURE: whether one of the rules gives the right on every object, not only on named ones."""
    subresource = right.resource.partition("/")[2]
    names = {right.resource, "*"} | ({f"*/{subresource}"} if subresource else set())
    return any(
        not rule.get("resourceNames")
        and {right.verb, "*"} & set(rule.get("verbs") or ())
        and {right.group, "*"} & set(rule.get("apiGroups") or ())
        and names & set(rule.get("resources") or ())
        for rule in rules
    )


async def _is_allowed(cluster: Cluster, right: Right) -> bool:
    resource, _, subresource = right.resource.partition("/")
    attributes = {
        "namespace": cluster.namespace,
        "verb": right.verb,
        "group": right.group,
        "resource": resource,
    }
    review = {
        "spec": {"resourceAttributes": attributes | ({"subresource": subresource} if subresource else {})}
    }
    answer = await cluster.call(Call("create", ACCESS_REVIEWS, body=review), accept={403, 404})
    # who may not even ask finds out by doing
    return answer.status >= 400 or bool(answer.json.get("status", {}).get("allowed"))
