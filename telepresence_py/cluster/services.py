"""What is done to Services: each function is one request."""

from __future__ import annotations

from telepresence_py.cluster.calls import SERVICES, Call, Json
from telepresence_py.cluster.client import Cluster


async def create_service(cluster: Cluster, manifest: Json) -> Json | None:
    """The Service, or None when the name is taken (perhaps by ourselves: an answer may have been lost)."""
    answer = await cluster.call(Call("create", SERVICES, body=manifest), accept={409})
    return None if answer.status == 409 else answer.json


async def get_service(cluster: Cluster, name: str) -> Json | None:
    answer = await cluster.call(Call("get", SERVICES, name), accept={404})
    return None if answer.status == 404 else answer.json
