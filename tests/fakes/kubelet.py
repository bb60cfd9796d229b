"""The kubelet's way with a volume: the steps of Kubernetes' AtomicWriter, on a directory of this host."""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path

_numbers = itertools.count(1)


class KubeletVolume:
    """A ConfigMap, Secret or projected volume at `path`, which is made; `state` is what it holds now."""

    def __init__(self, path: Path, **files: str) -> None:
        self.path = path
        self.state = ""
        path.mkdir()
        self.write(**files)

    def write(self, **files: str) -> str:
        """A new state with just these files; its name."""
        state = f"..2026_11_28_09_00_00.{next(_numbers)}"
        old = self.path / self.state if self.state else None
        (self.path / state).mkdir()
        for name, content in files.items():
            (self.path / state / name).write_text(content)
        os.symlink(state, self.path / "..data_tmp")
        os.rename(self.path / "..data_tmp", self.path / "..data")
        for name in files:
            if not os.path.lexists(self.path / name):
                os.symlink(f"..data/{name}", self.path / name)
        if old is not None:
            for gone in set(os.listdir(old)) - set(files):
                os.unlink(self.path / gone)
            shutil.rmtree(old)
        self.state = state
        return state
