"""Reading a workload and all that belongs to it into one frozen snapshot."""

from __future__ import annotations

from dataclasses import dataclass

import trio

from telepresence_py.cluster.calls import (
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    REPLICASETS,
    SERVICES,
    Call,
    Json,
    Resource,
)
from telepresence_py.cluster.client import Cluster
from telepresence_py.cluster.kinds import require_swappable
from telepresence_py.cluster.names import suggestion
from telepresence_py.model.errors import NamedObjectMissing, one_error


@dataclass(frozen=True)
class WorkloadSnapshot:
    """One moment's view; the objects are the server's JSON. `pods` holds originals and sidecar pods alike."""

    context: str
    namespace: str
    deployment: Json
    replicasets: tuple[Json, ...]
    pods: tuple[Json, ...]
    services: tuple[Json, ...]


async def read_workload(cluster: Cluster, kind: str, name: str) -> WorkloadSnapshot:
    """Four requests, none of which changes anything.

    NamedObjectMissing names the nearest spelling; PreconditionFailed says why a kind is not swapped (yet).
    """
    require_swappable(kind, name)
    answer = await cluster.call(Call("get", DEPLOYMENTS, name), accept={404})
    if answer.status == 404:
        raise await _missing(cluster, name)
    selector = (("labelSelector", selector_text(answer.json["spec"]["selector"])),)
    found: dict[str, tuple[Json, ...]] = {}

    async def read(resource: Resource, query: tuple[tuple[str, str], ...]) -> None:
        listed = await cluster.call(Call("list", resource, query=query))
        found[resource.plural] = tuple(listed.json.get("items") or ())

    with one_error():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, REPLICASETS, selector)
            nursery.start_soon(read, PODS, selector)
            nursery.start_soon(read, SERVICES, ())
    return WorkloadSnapshot(
        context=cluster.context,
        namespace=cluster.namespace,
        deployment=answer.json,
        replicasets=found["replicasets"],
        pods=found["pods"],
        services=found["services"],
    )


def selector_text(selector: Json) -> str:
    """PURE: a LabelSelector object as the text that lists and watches take."""
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


async def _missing(cluster: Cluster, name: str) -> NamedObjectMissing:
    """The error for a deployment that is not there, as precise as the user's rights allow."""
    where = f'in namespace "{cluster.namespace}" of context "{cluster.context}"'
    listed = await cluster.call(Call("list", DEPLOYMENTS), accept={403})
    if listed.status == 403:
        return NamedObjectMissing(f'there is no deployment "{name}" {where}')
    names = [item["metadata"]["name"] for item in listed.json.get("items") or ()]
    if not names:
        namespace = await cluster.call(Call("get", NAMESPACES, cluster.namespace), accept={403, 404})
        if namespace.status == 404:
            return await _namespace_missing(cluster)
    return NamedObjectMissing(
        f'there is no deployment "{name}" {where}{suggestion(name, names, "deployments")}'
    )


async def _namespace_missing(cluster: Cluster) -> NamedObjectMissing:
    begin = f'There is no namespace "{cluster.namespace}" in the cluster of context "{cluster.context}"'
    listed = await cluster.call(Call("list", NAMESPACES), accept={403})
    if listed.status == 403:
        return NamedObjectMissing(f"{begin}: name another with -n")
    names = [item["metadata"]["name"] for item in listed.json.get("items") or ()]
    return NamedObjectMissing(begin + suggestion(cluster.namespace, names, "namespaces"))
