"""PURE: who owns a workload's pods: the controllers that make them, and the owner that holds ours back."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from telepresence_py.cluster.calls import REPLICASETS, REPLICATIONCONTROLLERS, Json, Resource

POD_OWNER_KINDS = {REPLICASETS: "ReplicaSet", REPLICATIONCONTROLLERS: "ReplicationController"}
# by these a controller tells the pods of its generations apart; they come and go with each rollout
HASH_LABELS = frozenset({"pod-template-hash", "rollouts-pod-template-hash"})
REVISIONS = ("deployment.kubernetes.io/revision", "rollout.argoproj.io/revision")


@dataclass(frozen=True)
class PodOwner:
    """A ReplicaSet or ReplicationController: makes, adopts and removes the pods that match its selector."""

    resource: Resource
    json: Json

    @property
    def name(self) -> str:
        return str(self.json["metadata"]["name"])

    @property
    def uid(self) -> str:
        return str(self.json["metadata"]["uid"])

    @property
    def replicas(self) -> int:
        return int(self.json["spec"].get("replicas", 1))

    @property
    def template(self) -> Json:
        return dict(self.json["spec"]["template"])

    @property
    def claims(self) -> tuple[str, ...]:
        """Names of the persistent volume claims that all its pods share."""
        return claims_of(self.template["spec"])

    @property
    def selector(self) -> Json:
        """A LabelSelector; a ReplicationController writes a plain map of labels."""
        selector = dict(self.json["spec"].get("selector") or {})
        return {"matchLabels": selector} if self.resource is REPLICATIONCONTROLLERS else selector

    @property
    def reference(self) -> Json:
        """By which its pods name it as their controller."""
        return reference(_api_version(self.resource), POD_OWNER_KINDS[self.resource], self.json)

    def __str__(self) -> str:
        return f"{self.resource.singular} {self.name}"


@dataclass(frozen=True)
class Workload:
    """A workload at one moment; `str()` is `deployment/orders`.

    `uid` tells it from another of the same name. `replicas` is how many pods are wanted in all, `selector`
    finds them, and each of `pod_owners` makes some of them. `holder` is the controller reference with which a
    pod belongs to none of these, however well its labels match. `json` is the object itself, empty where a
    custom resource is known by its ReplicaSets alone. `ending` is set when it is being deleted.
    """

    kind: str
    name: str
    uid: str
    replicas: int
    selector: str
    pod_owners: tuple[PodOwner, ...]
    holder: Json
    json: Json
    ending: bool = False

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"

    @property
    def itself(self) -> Json:
        """A reference to the object of that kind and name."""
        return self.holder if self.holder["kind"].lower() == self.kind else self.pod_owners[0].reference

    @property
    def newest(self) -> PodOwner | None:
        """Whoever would make the next pod: the ReplicaSet of the present template, else the youngest."""
        template = self.json.get("spec", {}).get("template")
        current = [one for one in self.pod_owners if _without_hash(one.template) == template]
        return max(current or self.pod_owners, key=_age, default=None)

    def has(self, pod: Json) -> bool:
        """Whether one of its controllers owns the pod; others' pods may match its selector, too.

        A ReplicaSet that is newer than this view is told by its name, to which its maker adds a hash.
        """
        owner = controller(pod)
        if owner is None:
            return False
        if owner["uid"] in (one.uid for one in self.pod_owners):
            return True
        newer = self.kind not in (one.singular for one in POD_OWNER_KINDS)
        return newer and owner["kind"] == "ReplicaSet" and owner["name"].startswith(f"{self.name}-")

    def may_have(self, pod: Json) -> bool:
        """Whether the pod is its own, held back from it, or an orphan that it could adopt."""
        return self.has(pod) or controller_uid(pod) in (None, self.holder["uid"])


def reference(api_version: str, kind: str, thing: Json) -> Json:
    """A controller reference, without blockOwnerDeletion, which would ask for rights on that object."""
    meta = thing["metadata"]
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
    }


def controller(thing: Json) -> Json | None:
    """The owner reference of the controller, if there is one."""
    for one in thing["metadata"].get("ownerReferences") or ():
        if one.get("controller"):
            return dict(one)
    return None


def controller_uid(thing: Json) -> str | None:
    owner = controller(thing)
    return None if owner is None else str(owner["uid"])


def is_held_back(pod: Json) -> bool:
    """Whether the pod's controller is somebody who neither makes nor adopts pods."""
    owner = controller(pod)
    return owner is not None and owner["kind"] not in POD_OWNER_KINDS.values()


def selector_text(selector: Json) -> str:
    """A LabelSelector object as the text that lists and watches take."""
    terms = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or ():
        key, operator = expression["key"], expression["operator"]
        values = ",".join(expression.get("values") or ())
        terms.append(
            {
                "In": f"{key} in ({values})",
                "NotIn": f"{key} notin ({values})",
                "Exists": key,
                "DoesNotExist": f"!{key}",
            }[operator]
        )
    return ",".join(terms)


def common_selector(owners: Sequence[PodOwner], without: Collection[str] = HASH_LABELS) -> str:
    """What the selectors of all owners ask for, so that it finds the pods of owners to come as well.

    Empty when they have nothing in common.
    """
    first, *others = (one.selector for one in owners)
    selector: dict[str, Any] = {
        "matchLabels": {
            key: value
            for key, value in (first.get("matchLabels") or {}).items()
            if key not in without
            and all((other.get("matchLabels") or {}).get(key) == value for other in others)
        },
        "matchExpressions": [
            one
            for one in first.get("matchExpressions") or ()
            if one["key"] not in without
            and all(one in (other.get("matchExpressions") or ()) for other in others)
        ],
    }
    text = selector_text(selector)
    return text if text or not without else common_selector(owners, without=())


def _without_hash(template: Json) -> Json:
    labels = template["metadata"].get("labels") or {}
    kept = {key: value for key, value in labels.items() if key not in HASH_LABELS}
    return template | {"metadata": template["metadata"] | {"labels": kept}}


def _age(owner: PodOwner) -> tuple[int, str]:
    """The later, the greater; a rollback gives its ReplicaSet a new revision."""
    meta = owner.json["metadata"]
    annotations = meta.get("annotations") or {}
    revisions = [int(annotations[key]) for key in REVISIONS if annotations.get(key, "").isdigit()]
    return max(revisions, default=0), meta.get("creationTimestamp", "")


def _api_version(resource: Resource) -> str:
    return f"{resource.group}/{resource.version}" if resource.group else resource.version


def claims_of(spec: Json) -> tuple[str, ...]:
    """Names of the persistent volume claims in a pod's spec."""
    volumes = spec.get("volumes") or ()
    return tuple(v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v)
