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
    Right("create", "pods/portforward"),
)
"""What no session can do without. The last is needed from Kubernetes 1.35 on, and before that by kubectl:
roles have both, or neither."""

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
ACCOUNT_RIGHTS = (Right("get", "serviceaccounts"),)
"""What a ReplicaSet or ReplicationController without a parent needs besides, which reading it tells."""

LIST_RIGHTS = (Right("list", "pods"), Right("get", "pods/log"))
"""What finding the pods of sessions, and whether these live, needs."""

_LOOKED_UP = {
    "": ("replicationcontrollers",),
    "apps": ("deployments", "replicasets", "statefulsets", "daemonsets"),
    "batch": ("jobs", "cronjobs"),
}

_NOTED = "others by `kubectl describe` of the workload: who swapped it, since when, who restored it"

OPTIONAL_RIGHTS = (
    (Right("get", "persistentvolumeclaims"), "a claim's access mode; without it ReadWriteOnce is assumed"),
    (Right("get", "serviceaccounts"), "that the account of `run --serviceaccount` is there"),
    (Right("list", "serviceaccounts"), "the nearest name of an account that is not there"),
    *(
        (Right("list", resource, group), "the nearest name of one that is not there")
        for group, resources in _LOOKED_UP.items()
        for resource in resources
    ),
    (Right("get", "namespaces"), "that the namespace is there, where nothing is found in it"),
    (Right("list", "namespaces"), "the nearest name of a namespace that is not there; in a ClusterRole"),
    (Right("create", "events"), _NOTED),
    (Right("patch", "events"), _NOTED),
    (
        Right("list", "nodes"),
        "for which processor `sidecar build` and `push` make the image; in a ClusterRole",
    ),
)
"""What is made use of where it is there, and not missed where it is not; each with what it tells."""


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


def restore_rights(kind: str | None) -> tuple[Right, ...]:
    """PURE: what `restore` needs, whosever session it was, where a workload of that kind was swapped; with
    None, where a run left its pod."""
    pods = (*LIST_RIGHTS, Right("watch", "pods"), Right("delete", "pods"))
    if kind is None:
        return pods
    return (*OWNER_RIGHTS.get(kind, CUSTOM_RIGHTS), *pods, Right("patch", "pods"))


async def require_rights(cluster: Cluster, rights: tuple[Right, ...]) -> None:
    """NoRights naming verb, resource and namespace of the first right that the user lacks.

    One request when nothing is lacking. The server's list of rules may be incomplete, so what is not in it is
    asked for one by one.
    """
    review = {"spec": {"namespace": cluster.namespace}}
    answer = await cluster.call(Call("create", RULES_REVIEWS, body=review), accept={403, 404})
    rules = [] if answer.status >= 400 else answer.json.get("status", {}).get("resourceRules") or []
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
