"""The pod's volumes as plain directories and files below a directory of the session's own, for methods that
mount nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from telepresence_py.model.world import FILE_MODE, NetworkView


@contextmanager
def laid_out(root: str, view: NetworkView) -> Iterator[dict[str, int]]:
    """The volumes' directories, empty, and single files below `root`; descriptors of the directories, by
    path."""
    directories: dict[str, int] = {}
    try:
        for path in _parents_first(view.volume_paths):
            below = root_path(root, path)
            os.makedirs(below, exist_ok=True)
            directories[path] = os.open(below, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for path, content in view.volume_files.items():
            file = Path(root_path(root, path))
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            file.chmod(view.file_modes.get(path, FILE_MODE))
        yield directories
    finally:
        for descriptor in directories.values():
            os.close(descriptor)


def root_path(root: str, path: str) -> str:
    """PURE. Where what the pod has at `path` is below `root`, out of which none leads, whatever the pod's
    spec has for a path."""
    return root + os.path.normpath(f"/{path.lstrip('/')}")


def _parents_first(paths: Iterable[str]) -> list[str]:
    return sorted(paths, key=lambda path: path.count("/"))
