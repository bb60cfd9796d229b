"""Run one service of a Kubernetes application on your own machine as though it were inside the cluster.

docs/architecture.md has the picture, the rooms and the flows.
"""

from telepresence_sidecar.contract import __version__

__all__ = ["__version__"]
