"""PURE: where a pod can be that has the same volume claims as others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from telepresence_py.cluster.calls import Json
from telepresence_py.cluster.owners import claims_of
from telepresence_py.model.errors import PreconditionFailed
from telepresence_py.session.podstate import is_finished

MANY = frozenset({"ReadWriteMany", "ReadOnlyMany"})
"""What is not known, for want of the right to read the claim, is taken for the commonest: ReadWriteOnce."""


def require_shared(workload: str, claims: Mapping[str, frozenset[str]]) -> None:
    """PreconditionFailed for a volume that no second pod may have, wherever it runs."""
    for claim, modes in claims.items():
        if modes == {"ReadWriteOncePod"}:
            raise PreconditionFailed(
                f"the volume of claim {claim} is for one pod of {workload} alone (ReadWriteOncePod), so that "
                "no other can stand beside it: swapping it is not supported yet"
            )


def beside_others(
    source: str, claims: Mapping[str, frozenset[str]], pods: Sequence[Json]
) -> tuple[str | None, tuple[str, ...]]:
    """The node on which a pod like those of `source` can have these claims (None: any), and sentences on why.

    PreconditionFailed for claims of one pod alone, and for claims that are in use on several nodes.
    """
    notices: list[str] = []
    nodes: set[str] = set()
    for claim, modes in claims.items():
        if modes == {"ReadWriteOncePod"}:
            raise PreconditionFailed(
                f"{source} uses the volume claim {claim}, which one pod alone may have (ReadWriteOncePod): "
                "no pod can run beside its own: run a plain pod, without --like"
            )
        if modes & MANY:
            continue
        for pod in pods:
            node = pod["spec"].get("nodeName")
            if node and claim in claims_of(pod["spec"]) and not is_finished(pod):
                nodes.add(node)
                notices.append(
                    f"The volume claim {claim} (ReadWriteOnce) is in use by pod {pod['metadata']['name']}: "
                    f"the new pod goes to the same node, {node}, and both have the same files"
                )
    if len(nodes) > 1:
        raise PreconditionFailed(
            f"{source} uses ReadWriteOnce volume claims in use on nodes {' and '.join(sorted(nodes))}: no "
            "pod can have them all; scale down what uses one of them"
        )
    return next(iter(nodes), None), tuple(notices)
