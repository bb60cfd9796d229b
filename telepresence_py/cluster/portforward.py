"""Where and how to reach a port of a pod: the tunnel dials, this room knows address and credentials."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from telepresence_py.cluster.calls import PODS, Call
from telepresence_py.cluster.client import Cluster
from telepresence_py.model.network import WebSocketTarget


def port_forward_target(cluster: Cluster, pod_name: str, pod_port: int) -> WebSocketTarget:
    """The port-forward WebSocket of one port of one pod, on the pod's loopback.

    Credentials are renewed here when they have expired, which may run the user's login plugin: ask anew at
    each dial.
    """
    settings = cluster.access.settings
    url = urlsplit(cluster.server)
    path = url.path.rstrip("/") + Call("get", PODS, pod_name, "portforward").path(cluster.namespace)
    scheme = "wss" if url.scheme == "https" else "ws"
    return WebSocketTarget(
        url=urlunsplit((scheme, url.netloc, path, f"ports={pod_port}", "")),
        headers=cluster.exchange.credentials(),
        ca_file=settings.ssl_ca_cert,
        certificate_file=settings.cert_file,
        key_file=settings.key_file,
        server_name=settings.tls_server_name,
        verify=bool(settings.verify_ssl),
        proxy=cluster.exchange.proxy,
    )
