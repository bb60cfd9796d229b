"""The connection to one cluster: raw JSON through the library's connection pool, in worker threads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from telepresence_py.model.intent import ClusterChoice


class Cluster:
    context: str
    namespace: str
    server: str  # https://...


@asynccontextmanager
async def open_cluster(choice: ClusterChoice) -> AsyncIterator[Cluster]:
    """Read the kubeconfig; no request is made. NamedObjectMissing for an unknown file or context."""
    raise NotImplementedError
    yield
