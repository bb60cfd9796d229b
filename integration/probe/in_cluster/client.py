"""A program of the cluster, by the official Python client. One line of JSON says who it is to the API server,
which pods it sees, what a watch of its own brings, and how it is refused what its service account may not.

go/ does the same by client-go.
"""

from __future__ import annotations

import json
import socket
from typing import Any

import kubernetes

# the library has few types
client: Any = kubernetes.client

SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


def main() -> None:
    load_configuration: Any = kubernetes.config.load_incluster_config
    watch: Any = kubernetes.watch.Watch
    load_configuration()
    with open(f"{SERVICE_ACCOUNT}/namespace") as file:
        namespace = file.read()
    core, itself = client.CoreV1Api(), socket.gethostname()
    review = client.AuthenticationV1Api().create_self_subject_review({})
    events = watch().stream(
        core.list_namespaced_pod, namespace, field_selector=f"metadata.name={itself}", timeout_seconds=20
    )
    print(
        json.dumps(
            {
                "itself": itself,
                "user": review.status.user_info.username,
                "pods": sorted(pod.metadata.name for pod in core.list_namespaced_pod(namespace).items),
                "watched": next(event["object"].metadata.name for event in events),
                "refused": refused(core, namespace),
            }
        )
    )


def refused(core: Any, namespace: str) -> str:
    """The reason why Secrets may not be listed; empty when they may."""
    try:
        core.list_namespaced_secret(namespace)
    except client.ApiException as problem:
        return str(problem.reason)
    return ""


main()
