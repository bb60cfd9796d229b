"""Reading a workload and all that belongs to it; the same question again tells what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import trio

from telepresence_py.cluster.calls import (
    CLAIMS,
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    REPLICASETS,
    SERVICEACCOUNTS,
    SERVICES,
    Call,
    Json,
    Resource,
)
from telepresence_py.cluster.client import Cluster
from telepresence_py.cluster.kinds import not_swapped, require_swappable, resource_of
from telepresence_py.cluster.names import suggestion
from telepresence_py.cluster.owners import (
    PodOwner,
    Workload,
    common_selector,
    controller,
    controller_uid,
    reference,
    selector_text,
)
from telepresence_py.model.errors import NamedObjectMissing, PreconditionFailed, one_error


@dataclass(frozen=True)
class WorkloadSnapshot:
    """One moment's view; the objects are the server's JSON. `pods` holds originals and sidecar pods alike.

    `claims` are the access modes of the persistent volume claims that the pods share, by claim.
    """

    context: str
    namespace: str
    workload: Workload
    pods: tuple[Json, ...]
    services: tuple[Json, ...]
    claims: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Root:
    """What the first request tells: the object of that name, or the ReplicaSets of a custom resource."""

    kind: str
    name: str
    json: Json
    replicasets: tuple[PodOwner, ...] = ()

    @property
    def selector(self) -> str:
        if self.replicasets:
            return _common_selector(self.kind, self.name, self.replicasets)
        if self.kind == DEPLOYMENTS.singular:
            return selector_text(self.json["spec"]["selector"])
        return selector_text(self.pod_owner.selector)

    @property
    def pod_owner(self) -> PodOwner:
        resource = resource_of(self.kind)
        assert resource is not None
        return PodOwner(resource, self.json)


async def read_workload(cluster: Cluster, kind: str, name: str) -> WorkloadSnapshot:
    """A few requests, none of which changes anything: four for a deployment, and one for each claim.

    A ReplicaSet of a deployment is read as that deployment. NamedObjectMissing names the nearest spelling;
    PreconditionFailed says why a kind is not swapped (yet).
    """
    require_swappable(kind, name)
    root = await _find_root(cluster, kind, name)
    if root is None:
        raise await missing(cluster, resource_of(kind), kind, name)
    selector = (("labelSelector", root.selector),)
    found: dict[str, tuple[Json, ...]] = {}
    workload: list[Workload] = []

    async def complete() -> None:
        workload.append(await _complete(cluster, root))

    async def read(resource: Resource, query: tuple[tuple[str, str], ...]) -> None:
        found[resource.plural] = await _list(cluster, resource, query)

    with one_error():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(complete)
            nursery.start_soon(read, PODS, selector)
            nursery.start_soon(read, SERVICES, ())
    return WorkloadSnapshot(
        context=cluster.context,
        namespace=cluster.namespace,
        workload=workload[0],
        pods=found["pods"],
        services=found["services"],
        claims=await read_claims(
            cluster, {name for owner in workload[0].pod_owners for name in owner.claims}
        ),
    )


async def read_claims(cluster: Cluster, names: Iterable[str]) -> dict[str, frozenset[str]]:
    """The access modes of each of these claims; none where it may not be read or is missing."""
    modes: dict[str, frozenset[str]] = {}

    async def read(name: str) -> None:
        answer = await cluster.call(Call("get", CLAIMS, name), accept={403, 404})
        modes[name] = frozenset(answer.json.get("spec", {}).get("accessModes") or ())

    with one_error():
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(read, name)
    return modes


async def find_workload(cluster: Cluster, workload: str, uid: str | None = None) -> Workload | None:
    """`deployment/orders` as it is now: how many pods it wants, and who makes them. Two requests at most.

    None when there is none of that name and, with `uid`, when that very one is gone or being deleted.
    """
    kind, _, name = workload.partition("/")
    root = await _find_root(cluster, kind, name)
    found = None if root is None else await _complete(cluster, root)
    if found is not None and uid is not None and (found.uid != uid or found.ending):
        return None
    return found


async def _find_root(cluster: Cluster, kind: str, name: str) -> _Root | None:
    resource = resource_of(kind)
    if resource is None:
        owned = [
            PodOwner(REPLICASETS, one)
            for one in await _list(cluster, REPLICASETS)
            if controlled_by(one, kind, name)
        ]
        return _Root(kind, name, {}, tuple(owned)) if owned else None
    answer = await cluster.call(Call("get", resource, name), accept={404})
    if answer.status == 404:
        return None
    owner = controller(answer.json)
    if owner is not None and (owner["apiVersion"], owner["kind"]) == ("apps/v1", "Deployment"):
        return await _find_root(cluster, DEPLOYMENTS.singular, owner["name"])
    return _Root(kind, name, answer.json)


async def _complete(cluster: Cluster, root: _Root) -> Workload:
    owners: tuple[PodOwner, ...]
    if root.replicasets:
        owners = root.replicasets
        holder = _held_by(owners[0].json)
        assert holder is not None
    elif root.kind == DEPLOYMENTS.singular:
        listed = await _list(cluster, REPLICASETS, (("labelSelector", root.selector),))
        uid = root.json["metadata"]["uid"]
        owners = tuple(PodOwner(REPLICASETS, one) for one in listed if controller_uid(one) == uid)
        holder = reference("apps/v1", "Deployment", root.json)
    else:
        owners = (root.pod_owner,)
        holder = _held_by(root.json) or await _service_account(cluster, root.pod_owner)
    wanted = (root.json["spec"].get("replicas", 1),) if root.json else (one.replicas for one in owners)
    return Workload(
        kind=root.kind,
        name=root.name,
        uid=root.json["metadata"]["uid"] if root.json else holder["uid"],
        replicas=sum(wanted),
        selector=root.selector,
        pod_owners=owners,
        holder=holder,
        json=root.json,
        ending="deletionTimestamp" in root.json.get("metadata", {}),
    )


def _common_selector(kind: str, name: str, replicasets: tuple[PodOwner, ...]) -> str:
    text = common_selector(replicasets)
    if not text:
        raise PreconditionFailed(
            f"the replicasets of {kind}/{name} have no label in common by which to find its pods: "
            "name one of them, as replicaset/NAME"
        )
    return text


def _held_by(thing: Json) -> Json | None:
    """A reference to the thing's own controller, if it has one."""
    owner = controller(thing)
    return None if owner is None else reference(owner["apiVersion"], owner["kind"], {"metadata": owner})


async def _service_account(cluster: Cluster, owner: PodOwner) -> Json:
    """Who holds back where there is no parent: its pods cannot live without their service account either."""
    name = owner.template["spec"].get("serviceAccountName") or "default"
    return reference("v1", "ServiceAccount", (await cluster.call(Call("get", SERVICEACCOUNTS, name))).json)


def controlled_by(replicaset: Json, kind: str, name: str) -> bool:
    """PURE: whether an object of that kind (in lower case) and name is its controller."""
    owner = controller(replicaset)
    return owner is not None and (owner["kind"].lower(), owner["name"]) == (kind, name)


async def _list(
    cluster: Cluster, resource: Resource, query: tuple[tuple[str, str], ...] = ()
) -> tuple[Json, ...]:
    return tuple((await cluster.call(Call("list", resource, query=query))).json.get("items") or ())


async def missing(cluster: Cluster, resource: Resource | None, kind: str, name: str) -> Exception:
    """The error for an object that is not there, as precise as the user's rights allow.

    `resource` None stands for a custom resource that controls ReplicaSets.
    """
    where = f'in namespace "{cluster.namespace}" of context "{cluster.context}"'
    listed = await cluster.call(Call("list", resource or REPLICASETS), accept={403})
    if listed.status == 403:
        return NamedObjectMissing(f'there is no {kind} "{name}" {where}')
    items = listed.json.get("items") or ()
    if not items:
        await require_namespace(cluster)
    if resource is not None:
        names = [item["metadata"]["name"] for item in items]
        return NamedObjectMissing(
            f'there is no {kind} "{name}" {where}{suggestion(name, names, resource.plural)}'
        )
    owners = [owner for owner in map(controller, items) if owner is not None]
    names = sorted({owner["name"] for owner in owners if owner["kind"].lower() == kind})
    if not names and kind != "rollout":
        return not_swapped(kind)
    meant = suggestion(name, names, f"replicasets of a {kind}")
    return NamedObjectMissing(f'there is no replicaset of a {kind} "{name}" {where}{meant}')


async def require_namespace(cluster: Cluster) -> None:
    """NamedObjectMissing, with the nearest name, when there is no such namespace; who may not ask passes."""
    answer = await cluster.call(Call("get", NAMESPACES, cluster.namespace), accept={403, 404})
    if answer.status == 404:
        raise await _namespace_missing(cluster)


async def _namespace_missing(cluster: Cluster) -> NamedObjectMissing:
    begin = f'there is no namespace "{cluster.namespace}" in the cluster of context "{cluster.context}"'
    listed = await cluster.call(Call("list", NAMESPACES), accept={403})
    if listed.status == 403:
        return NamedObjectMissing(f"{begin}: name another with -n")
    names = [item["metadata"]["name"] for item in listed.json.get("items") or ()]
    return NamedObjectMissing(begin + suggestion(cluster.namespace, names, "namespaces"))
