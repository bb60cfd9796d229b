"""Which rights the user has, asked beforehand, so that nothing is half done for want of one."""

from __future__ import annotations

from telepresence_py.cluster.client import Cluster


async def require_rights(cluster: Cluster) -> None:
    """NoRights naming verb, resource and namespace when a swap would need what the user may not do. One request."""
    raise NotImplementedError
