"""Which image the sidecar runs from, unless `--image` names another."""

from __future__ import annotations

from telepresence_sidecar.contract import __version__

DEFAULT_IMAGE = f"localhost/telepresence-py-sidecar:{__version__}"
"""The image of this version, as `telepresence-py sidecar build` names it."""
