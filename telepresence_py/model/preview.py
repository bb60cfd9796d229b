"""What a command would do, told instead of done (`--dry-run`)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Change:
    """One thing done to the cluster or to the laptop and what takes it back, for people to read."""

    do: str
    undo: str


@dataclass(frozen=True)
class Preview:
    """All `changes` of a command that outlive it or a moment of it, in the order in which they would be made.

    `command` is swap, run or restore; `objects` are the manifests that would be created, as they would be
    sent.
    """

    command: str
    workload: str  # deployment/orders, run/api; empty for all of the namespace
    namespace: str
    context: str
    changes: tuple[Change, ...]
    objects: tuple[dict[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Preview:
        """The inverse of `to_json`; TypeError when the fields are not a Preview's."""
        changes = tuple(Change(**change) for change in fields["changes"])
        return cls(**{**fields, "changes": changes, "objects": tuple(fields["objects"])})
