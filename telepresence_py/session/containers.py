"""PURE. What of the pod's files a container is to have, where its tool finds them."""

from __future__ import annotations

from telepresence_py.isolation.laying_out import root_path
from telepresence_py.model.door import ContainerBinds
from telepresence_py.model.world import ContainerPlace, NetworkView


def container_binds(place: ContainerPlace, view: NetworkView) -> ContainerBinds:
    """A bind for each file and volume of the view, outer ones first; what lies in another volume has its own,
    as what is mounted below a bind may not come with it."""
    paths = {*view.files, *view.volume_files, *view.volume_paths}
    binds = tuple(
        (root_path(place.root, path), path, path not in view.writable_volume_paths)
        for path in sorted(paths, key=lambda path: (path.count("/"), path))
    )
    return ContainerBinds(place.first_pid, binds, place.helper, place.address)
