"""Where and how to reach a port of a pod, or to run a program in it: the tunnel dials, this room knows
address and credentials."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from urllib.parse import urlencode, urlsplit, urlunsplit

from telepresence_py.cluster.calls import PODS, Call
from telepresence_py.cluster.client import Cluster
from telepresence_py.model.network import WebSocketTarget


def port_forward_target(cluster: Cluster, pod_name: str, pod_port: int) -> WebSocketTarget:
    """The port-forward WebSocket of one port of one pod, on the pod's loopback.

    Credentials are renewed here when they have expired, which may run the user's login plugin: ask anew at
    each dial. ClusterUnreachable when they cannot be.
    """
    return _target(cluster, Call("get", PODS, pod_name, "portforward"), f"ports={pod_port}", pod_port)


def exec_target(cluster: Cluster, pod_name: str, container: str, command: Sequence[str]) -> WebSocketTarget:
    """The WebSocket on which that program runs in the container, without a terminal and without input; the
    rest is as with `port_forward_target`."""
    words = [("container", container), ("stdout", "true"), ("stderr", "true")]
    query = urlencode([*words, *(("command", word) for word in command)])
    return _target(cluster, Call("get", PODS, pod_name, "exec"), query, 0)


def _target(cluster: Cluster, call: Call, query: str, port: int) -> WebSocketTarget:
    access, connections = cluster.access, cluster.exchange.connections
    way = connections.way()
    url = urlsplit(cluster.server)
    path = url.path.rstrip("/") + call.path(cluster.namespace)
    scheme = "wss" if url.scheme == "https" else "ws"
    return WebSocketTarget(
        url=urlunsplit((scheme, url.netloc, path, query, "")),
        port=port,
        headers=way.headers,
        refused=partial(connections.refused, way),
        tls=way.tls,
        server_name=access.cluster.server_name or None,
        proxy=None if access.proxy is None else access.proxy.url,
        proxy_tls=connections.proxy_tls,
    )
