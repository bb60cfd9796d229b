"""Run one service of a Kubernetes application on your own machine as though it were inside the cluster.

docs/architecture.md has the picture, the rooms and the flows.
"""

__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    # lazily: every start of the command line and of the namespace agent passes here
    if name == "__version__":
        from telepresence_sidecar.contract import __version__

        return __version__
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
