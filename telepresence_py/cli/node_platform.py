"""Which platform an image for the cluster's nodes must be built for."""

from __future__ import annotations

import trio

from telepresence_py.cluster.calls import Call, Resource
from telepresence_py.cluster.client import open_cluster
from telepresence_py.model.errors import TelepresenceError
from telepresence_py.model.intent import ClusterChoice
from telepresence_py.process.plugin import run_plugin_here

_NODES = Resource("nodes", "node", namespaced=False)
_PATIENCE_SECONDS = 4.0


def platforms_of_nodes(choice: ClusterChoice) -> frozenset[str]:
    """`linux/amd64`, ...; empty when no cluster answers soon, or we may not see its nodes."""
    try:
        return trio.run(_ask, choice)
    except TelepresenceError:
        return frozenset()


async def _ask(choice: ClusterChoice) -> frozenset[str]:
    async with open_cluster(choice, run_plugin_here) as cluster:
        with trio.move_on_after(_PATIENCE_SECONDS):
            answer = await cluster.call(Call("list", _NODES))
            infos = [node["status"]["nodeInfo"] for node in answer.json.get("items", ())]
            return frozenset(f"{info['operatingSystem']}/{info['architecture']}" for info in infos)
    return frozenset()
