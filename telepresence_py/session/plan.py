"""PURE: what a swap would do, as a value; every refusal that reading alone can justify is raised here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from telepresence_py.cluster.calls import Json
from telepresence_py.cluster.owners import PodOwner, Workload, controller_uid
from telepresence_py.cluster.workloads import WorkloadSnapshot
from telepresence_py.model.errors import PreconditionFailed, WorkloadHeld
from telepresence_py.model.image import DEFAULT_IMAGE
from telepresence_py.model.intent import SwapIntent
from telepresence_py.model.network import Mount, PortMap
from telepresence_py.model.preview import Change
from telepresence_py.session.claims import MANY, require_shared
from telepresence_py.session.identity import SessionIdentity, sidecar_config
from telepresence_py.session.manifest import SidecarShape, lock_name, plain_pod
from telepresence_py.session.pod_loopback import require_loopback_ports
from telepresence_py.session.podspec import (
    choose_container,
    map_ports,
    mounts_of,
    require_room,
    unserved,
)
from telepresence_py.session.podstate import (
    holder_of,
    is_finished,
    is_ready,
    is_sidecar,
    trouble,
)
from telepresence_py.volumes.brought import Brought
from telepresence_sidecar.contract import SidecarConfig

NOTE_UNDO = "nothing: the cluster forgets Events, mostly after an hour"


@dataclass(frozen=True)
class ReplicaPlan:
    """One sidecar pod and the particular original that it replaces; None where the workload has no pods.

    `node` is the only one on which it can run beside that original; None for any.

    `pod_name` is the lock: two sessions cannot create it both. `owner` adopts it and removes an
    original; `plain_pod` is the pod that the owner itself would create.
    """

    pod_name: str
    owner: PodOwner
    original: str | None
    original_uid: str | None
    plain_pod: Json
    node: str | None = None


@dataclass(frozen=True)
class SwapPlan:
    """`target` is the workload as it was read, `claims` the access modes of its claims as far as they are
    known. `notices` are for the user, one line each; `brought` is what was read of the container's own files.
    `left` are finished pods of dead sessions that have a replica's name.

    The first replica's name is the first to be taken: who has it has the workload.
    """

    target: Workload
    namespace: str
    container_reason: str
    ports: tuple[PortMap, ...]
    mounts: tuple[Mount, ...]
    notices: tuple[str, ...]
    shape: SidecarShape
    replicas: tuple[ReplicaPlan, ...]
    claims: Mapping[str, frozenset[str]] = field(default_factory=dict)
    brought: tuple[Brought, ...] = ()
    left: tuple[str, ...] = ()

    @property
    def workload(self) -> str:
        """deployment/orders"""
        return str(self.target)

    @property
    def selector(self) -> str:
        """Finds all pods of the workload."""
        return self.target.selector

    @property
    def replaces(self) -> int:
        """How many originals make room; none where the workload wants no pods."""
        return sum(1 for one in self.replicas if one.original is not None)

    @property
    def container(self) -> str:
        return self.shape.container

    @property
    def config(self) -> SidecarConfig:
        return self.shape.config

    @property
    def changes(self) -> tuple[Change, ...]:
        """Every change in the order in which it is made; nothing else in the cluster is written."""
        noted = Change(f"note in an Event of {self.workload} who has it, if that is allowed", NOTE_UNDO)
        removed = [removal_of_finished(name) for name in self.left]
        made = [Change(f"create pod {one.pod_name}", f"delete pod {one.pod_name}") for one in self.replicas]
        given = [
            Change(
                f"give {one.pod_name} to {one.owner}, which then removes {one.original}",
                f"take {one.pod_name} back, so that {one.owner} starts an original",
            )
            for one in self.replicas
            if one.original is not None
        ]
        return (*removed, *made, *given, noted)


def removal_of_finished(pod_name: str) -> Change:
    """Of the pod that a dead session left, which only tells that it ended."""
    return Change(f"delete pod {pod_name}, which a dead session left finished", "nothing: it does no more")


def plan_swap(intent: SwapIntent, snapshot: WorkloadSnapshot, identity: SessionIdentity) -> SwapPlan:
    """The plan; NamedObjectMissing, BadUsage, WorkloadHeld, PreconditionFailed tell what is amiss."""
    target, workload = snapshot.workload, str(snapshot.workload)
    if target.ending:
        raise PreconditionFailed(f"{workload} is being deleted")
    _require_unheld(workload, snapshot)
    serving = _serving(snapshot) if target.replicas else (_newest(target),)
    specs = [one.owner.template["spec"] for one in serving]
    require_room(workload, specs)
    if target.replicas:
        named = {name for one in serving for name in one.owner.claims}
        require_shared(workload, {name: snapshot.claims[name] for name in named})
    template = serving[0].owner.template
    services = [service for service in snapshot.services if selects(service, template)]
    choice = choose_container(template, services, intent.container, workload)
    _require_container_everywhere(workload, choice.name, serving)
    ports = map_ports(template, services, choice.name, intent.ports, workload)
    require_loopback_ports(intent.localhost, template["spec"], choice.name, ports, workload)
    config = sidecar_config(intent, identity, ports, specs)
    replicas = tuple(replica for one in serving for replica in _replicas(one, snapshot.claims))
    asked = f"{intent.kind}/{intent.name}"
    return SwapPlan(
        target=target,
        namespace=snapshot.namespace,
        container_reason=choice.reason,
        ports=ports,
        mounts=mounts_of(serving[0].pod_spec, choice.name),
        notices=(
            *_resolved_notice(asked, workload),
            *_no_pods_notice(target),
            *_rollout_notice(serving),
            *unserved(template, choice.name),
        ),
        shape=SidecarShape(
            choice.name, intent.image or DEFAULT_IMAGE, config, workload, identity.since, target.holder
        ),
        replicas=replicas,
        claims=snapshot.claims,
        left=_left(snapshot, replicas),
    )


def _left(snapshot: WorkloadSnapshot, replicas: tuple[ReplicaPlan, ...]) -> tuple[str, ...]:
    names = {one.pod_name for one in replicas}
    finished = {pod["metadata"]["name"] for pod in snapshot.pods if is_sidecar(pod) and is_finished(pod)}
    return tuple(sorted(names & finished))


@dataclass(frozen=True)
class _Serving:
    """An owner of pods, some of them Ready; `originals` are all that it has, Ready ones first.

    Without `originals`, the owner that would make the first pod.
    """

    owner: PodOwner
    originals: tuple[Json, ...] = ()

    @property
    def pod_spec(self) -> Json:
        """Of a living pod, so that what admission adds is in it; where there is none, the template's."""
        return dict(self.originals[0]["spec"] if self.originals else self.owner.template["spec"])


def _require_unheld(workload: str, snapshot: WorkloadSnapshot) -> None:
    for pod in filter(snapshot.workload.may_have, snapshot.pods):
        if is_sidecar(pod) and not is_finished(pod) and not pod["metadata"].get("deletionTimestamp"):
            raise held(workload, pod)


def held(workload: str, pod: Json) -> WorkloadHeld:
    """The error that names who holds the workload by this sidecar pod."""
    holder = holder_of(pod)
    return WorkloadHeld(
        f"{workload} is held by {holder.who} since {holder.since}: wait for that session to end, "
        f"or end it by `telepresence-py restore --force {holder.workload}`"
    )


def _serving(snapshot: WorkloadSnapshot) -> tuple[_Serving, ...]:
    """Those with a Ready pod, the one with most of them first.

    Never the newest by revision: adopted into the broken ReplicaSet of a stuck rollout, a sidecar would count
    as progress, and the last good original would be removed for good.
    """
    workload = snapshot.workload
    found, troubles = [], []
    for owner in workload.pod_owners:
        pods = [pod for pod in snapshot.pods if controller_uid(pod) == owner.uid and not is_sidecar(pod)]
        living = [p for p in pods if not is_finished(p) and not p["metadata"].get("deletionTimestamp")]
        living.sort(key=lambda pod: (not is_ready(pod), pod["metadata"]["name"]))
        if living and is_ready(living[0]):
            found.append(_Serving(owner, tuple(living)))
        troubles += [f"{pod['metadata']['name']}: {trouble(pod)}" for pod in living if not is_ready(pod)]
    if not found:
        raise PreconditionFailed(
            f"no pod of {workload} is Ready, so there is nothing to stand in for"
            + (f" ({'; '.join(troubles[:3])})" if troubles else ": wait for one, then try again")
        )
    return tuple(sorted(found, key=lambda one: (-sum(map(is_ready, one.originals)), one.owner.name)))


def _newest(workload: Workload) -> _Serving:
    if workload.newest is None:
        raise PreconditionFailed(
            f"{workload} has 0 replicas and never had a replicaset: scale it up, then try again"
        )
    return _Serving(workload.newest)


def node_beside(original: Json, owner: PodOwner, claims: Mapping[str, frozenset[str]]) -> str | None:
    """The only node on which a sidecar of that owner can run beside the original; None for any."""
    bound = any(not claims.get(name, frozenset()) & MANY for name in owner.claims)
    return original["spec"].get("nodeName") if bound else None


def _replicas(serving: _Serving, claims: Mapping[str, frozenset[str]]) -> list[ReplicaPlan]:
    """One for each pod that the owner has: it removes the not Ready ones before the Ready ones.

    One that replaces nobody for an owner without pods: given to it, it would be removed at once.
    """
    originals: list[Json] = [*serving.originals] or [{"metadata": {}, "spec": {}}]
    return [
        ReplicaPlan(
            pod_name=lock_name(serving.owner.name, number),
            owner=serving.owner,
            original=original["metadata"].get("name"),
            original_uid=original["metadata"].get("uid"),
            plain_pod=plain_pod(serving.owner),
            node=node_beside(original, serving.owner, claims),
        )
        for number, original in enumerate(originals, start=1)
    ]


def _no_pods_notice(workload: Workload) -> tuple[str, ...]:
    if workload.replicas:
        return ()
    return (f"{workload} has 0 replicas: the sidecar stands in for nobody, and is its only pod meanwhile",)


def _resolved_notice(asked: str, workload: str) -> tuple[str, ...]:
    return () if asked == workload else (f"{asked} belongs to {workload}, which is swapped as a whole",)


def _rollout_notice(serving: tuple[_Serving, ...]) -> tuple[str, ...]:
    if len(serving) == 1:
        return ()
    counts = Counter({one.owner.name: len(one.originals) for one in serving})
    listed = ", ".join(f"{name} ({count})" for name, count in counts.items())
    return (f"A rollout is under way, pods of several replicasets are replaced: {listed}",)


def _require_container_everywhere(workload: str, container: str, serving: tuple[_Serving, ...]) -> None:
    for one in serving:
        if container not in [c["name"] for c in one.owner.template["spec"]["containers"]]:
            raise PreconditionFailed(
                f"a rollout of {workload} is under way and {one.owner} has no container "
                f"{container}: wait for its end, then try again"
            )


def selects(service: Json, template: Json) -> bool:
    """Whether the Service sends its traffic to the pods of that template."""
    selector = service["spec"].get("selector") or {}
    labels = template["metadata"].get("labels") or {}
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())
