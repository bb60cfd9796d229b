"""What the cluster was told about an object by Events."""

from __future__ import annotations

from typing import Any

from integration.support.namespaces import Namespace

OURS = "telepresence-py"


def events_about(namespace: Namespace, name: str) -> list[dict[str, Any]]:
    """Those of the product about objects of that name, the first one first."""
    path = f"/api/v1/namespaces/{namespace.name}/events"
    found = namespace.cluster.read(path, fieldSelector=f"involvedObject.name={name}")["items"]
    ours = [event for event in found if event["source"].get("component") == OURS]
    return sorted(ours, key=lambda event: (event["firstTimestamp"], event["reason"] != "Swapped"))
