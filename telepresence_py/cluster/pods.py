"""What is done to pods: dry run, create, change of owner, delete, log. Each function is one request."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from telepresence_py.cluster.calls import PODS, Call, Json
from telepresence_py.cluster.client import Cluster
from telepresence_py.cluster.exchange import NoAnswer
from telepresence_py.cluster.refusals import Answer, explain

LOG_TRIES = 2
"""A connection that breaks once says nothing of the log: a living session would be taken for dead."""


@dataclass(frozen=True)
class PodList:
    items: tuple[Json, ...]
    version: str  # from which a watch goes on


async def rehearse_pod(cluster: Cluster, manifest: Json) -> Json:
    """The pod as the server would make it, admission included, without making it.

    PreconditionFailed when it would be refused: quota, Pod Security, LimitRange, a webhook, an invalid field.
    """
    answer = await cluster.call(Call("create", PODS, query=(("dryRun", "All"),), body=manifest))
    return answer.json


async def create_pod(cluster: Cluster, manifest: Json) -> Json | None:
    """The pod, or None when the name is taken (perhaps by ourselves: an answer may have been lost)."""
    answer = await cluster.call(Call("create", PODS, body=manifest), accept={409})
    return None if answer.status == 409 else answer.json


async def get_pod(cluster: Cluster, name: str) -> Json | None:
    answer = await cluster.call(Call("get", PODS, name), accept={404})
    return None if answer.status == 404 else answer.json


async def list_pods(cluster: Cluster, selector: str) -> PodList:
    answer = await cluster.call(Call("list", PODS, query=(("labelSelector", selector),)))
    return PodList(
        tuple(answer.json.get("items") or ()), answer.json.get("metadata", {}).get("resourceVersion", "")
    )


async def set_owners(cluster: Cluster, name: str, uid: str, owners: list[Json] | None) -> bool:
    """Replace all owner references of that very pod (None: it has none). False when it is gone."""
    return await _patch(cluster, name, uid, {"ownerReferences": owners})


async def annotate_pod(cluster: Cluster, name: str, uid: str, annotations: dict[str, str]) -> bool:
    """Lay these over the annotations of that very pod. False when it is gone."""
    return await _patch(cluster, name, uid, {"annotations": annotations})


async def _patch(cluster: Cluster, name: str, uid: str, metadata: Json) -> bool:
    """A uid in a patch is a precondition: another pod of the name answers 409."""
    body = {"metadata": {"uid": uid, **metadata}}
    answer = await cluster.call(Call("patch", PODS, name, body=body), accept={404, 409})
    return answer.status < 300


async def delete_pod(cluster: Cluster, name: str, uid: str, grace_seconds: int | None = None) -> bool:
    """Ask for the end of that very pod. False when it is gone already; its end takes `grace_seconds` at most,
    or (None) the grace period that it was made with."""
    body: Json = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
    if grace_seconds is not None:
        body["gracePeriodSeconds"] = grace_seconds
    answer = await cluster.call(Call("delete", PODS, name, body=body), accept={404, 409})
    return answer.status < 300


async def follow_log(cluster: Cluster, name: str, container: str, on_line: Callable[[str], bool]) -> Answer:
    """The container's log from its beginning, until `on_line` returns True or the container ends.

    The answer is not raised when it is a refusal that may pass: 400 while the container does not run yet.
    NoAnswer when the connection breaks; NoRights, ClusterUnreachable (credentials) are raised.
    """
    query = (("container", container), ("follow", "true"))
    call = Call("get", PODS, name, "log", query=query)
    answer = await cluster.follow(call, lambda line: on_line(line.decode(errors="replace")))
    if answer.status in (401, 403):
        raise explain(call, cluster.where, answer)
    return answer


async def read_log(cluster: Cluster, name: str, container: str, lines: int = 50) -> tuple[str, ...]:
    """The last lines of a container's log; none when there is no log."""
    found: list[str] = []

    def keep(line: bytes) -> bool:
        found.append(line.decode(errors="replace"))
        return False

    query = (("container", container), ("tailLines", str(lines)))
    for _ in range(LOG_TRIES):
        found.clear()
        with suppress(NoAnswer):
            answer = await cluster.follow(Call("get", PODS, name, "log", query=query), keep)
            return tuple(found) if answer.status < 300 else ()
    return ()


async def watch_pods(
    cluster: Cluster, selector: str, version: str, on_event: Callable[[str, Json], bool]
) -> int:
    """Pass ADDED, MODIFIED, DELETED, BOOKMARK events until `on_event` returns True or the watch ends.

    Returns 200, or 410 when `version` is too old, or another status on which one tries again. NoAnswer when
    the connection breaks; NoRights, ClusterUnreachable (credentials) are raised.
    """
    status = 200

    def take(line: bytes) -> bool:
        nonlocal status
        event = json.loads(line)
        if event.get("type") == "ERROR":
            status = int(event.get("object", {}).get("code", 500))
            return True
        return on_event(event["type"], event["object"])

    query = (
        ("labelSelector", selector),
        ("watch", "1"),
        ("resourceVersion", version),
        ("allowWatchBookmarks", "true"),
        ("timeoutSeconds", "600"),
    )
    call = Call("watch", PODS, query=query)
    answer = await cluster.follow(call, take)
    if answer.status in (401, 403):
        raise explain(call, cluster.where, answer)
    return answer.status if answer.status >= 300 else status
