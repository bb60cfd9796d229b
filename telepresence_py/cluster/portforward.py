"""Where and how to reach a port of a pod: the tunnel dials, this room knows address and credentials."""

from __future__ import annotations

from functools import partial
from urllib.parse import urlsplit, urlunsplit

from telepresence_py.cluster.calls import PODS, Call
from telepresence_py.cluster.client import Cluster
from telepresence_py.model.network import WebSocketTarget


def port_forward_target(cluster: Cluster, pod_name: str, pod_port: int) -> WebSocketTarget:
    """The port-forward WebSocket of one port of one pod, on the pod's loopback.

    Credentials are renewed here when they have expired, which may run the user's login plugin: ask anew at
    each dial. ClusterUnreachable when they cannot be.
    """
    access, connections = cluster.access, cluster.exchange.connections
    way = connections.way()
    url = urlsplit(cluster.server)
    path = url.path.rstrip("/") + Call("get", PODS, pod_name, "portforward").path(cluster.namespace)
    scheme = "wss" if url.scheme == "https" else "ws"
    return WebSocketTarget(
        url=urlunsplit((scheme, url.netloc, path, f"ports={pod_port}", "")),
        port=pod_port,
        headers=way.headers,
        refused=partial(connections.refused, way),
        tls=way.tls,
        server_name=access.cluster.server_name or None,
        proxy=None if access.proxy is None else access.proxy.url,
        proxy_tls=connections.proxy_tls,
    )
