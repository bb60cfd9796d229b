"""What the user wishes of the pod's volumes, and whether it can be had."""

from __future__ import annotations

from collections.abc import Mapping

from telepresence_py.cluster.names import suggestion
from telepresence_py.isolation.facts import no_live_volumes
from telepresence_py.model.errors import NamedObjectMissing, PreconditionFailed
from telepresence_py.model.intent import Intent
from telepresence_py.model.network import Mount
from telepresence_py.session.preflight import beside_laptop
from telepresence_py.volumes.choose import Wishes, clean


def wishes(
    ways: Mapping[str, str], method: str | None, prefix: str | None = None, contained: bool = False
) -> Wishes:
    """For a child that is isolated by that method, and finds the volumes below `prefix`, too; or is a
    container."""
    if beside_laptop(method):
        return Wishes(ways, f"--method {method} mounts nothing", prefixed=True)
    if contained and method == "docker":
        return Wishes(ways, "docker's daemon sees nothing that we mount")
    return Wishes(ways, no_live_volumes(), prefixed=prefix is not None)


def wishes_of(intent: Intent) -> Wishes:
    return wishes(intent.volumes, intent.method, intent.prefix, intent.container_image is not None)


def require_volumes(wished: Wishes, mounts: tuple[Mount, ...], workload: str) -> None:
    """NamedObjectMissing, with the nearest spelling, for a path at which nothing is mounted;
    PreconditionFailed for a live one where none can be had."""
    paths = [clean(mount.path) for mount in mounts]
    for path, way in wished.ways.items():
        if path not in paths:
            raise NamedObjectMissing(
                f"--volume {path}={way}: {workload} mounts nothing there{suggestion(path, paths, 'volumes')}"
            )
        if way == "live" and wished.no_live is not None:
            raise PreconditionFailed(f"--volume {path}=live: {wished.no_live}; or have it as a copy")
