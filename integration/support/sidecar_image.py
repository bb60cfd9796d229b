"""The sidecar's image of these sources, on every node of the project's own cluster.

    python -m integration.support.sidecar_image

Built and loaded by the product's own commands, and only when the sources differ from those of last time.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from pathlib import Path

from integration.support.cluster import ROOT, cache_directory
from integration.support.turns import turn
from telepresence_sidecar.contract import __version__

STATE = Path("/run/telepresence-py-cluster")


def ensure_sidecar_image() -> None:
    """Needs root and the running cluster; subprocess.CalledProcessError when a command fails."""
    with turn("sidecar-image"):
        _build_and_load(_sources_digest())


def _build_and_load(digest: str) -> None:
    stamp = STATE / f"sidecar-image-{__version__}"
    if stamp.exists() and stamp.read_text() == digest:
        return
    began = time.monotonic()
    print("test: building the sidecar's image (a minute the first time)", file=sys.stderr, flush=True)
    program = str(Path(sys.executable).with_name("telepresence-py"))
    archive = cache_directory() / f"sidecar-{__version__}.digest"
    if not archive.exists() or archive.read_text() != digest:
        subprocess.run([program, "sidecar", "build"], check=True)
        archive.write_text(digest)
    subprocess.run([program, "sidecar", "load", "--to", "project"], check=True)
    stamp.write_text(digest)
    print(f"test: sidecar image in place after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def _sources_digest() -> str:
    total = hashlib.sha256()
    for file in [ROOT / "Dockerfile.sidecar", *sorted((ROOT / "sidecar").rglob("*.py"))]:
        total.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    return total.hexdigest()


if __name__ == "__main__":
    ensure_sidecar_image()
