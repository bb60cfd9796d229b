"""Rules on where the child's connections go, as the user gave them. Stands on the standard library alone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Way(StrEnum):
    """Where a connection of the child goes; two of them are options."""

    TUNNEL = "tunnel"
    LAPTOP = "via-laptop"
    NEVER = "never"
    NAMES = "names"
    """Over TCP to a name server of the pod, whose answers the rules by name must follow."""


@dataclass(frozen=True)
class Rule:
    """`--via-laptop HOST|CIDR[:PORT]` or `--never HOST|CIDR[:PORT]`; `way` is LAPTOP or NEVER.

    `host` is a network with its length (`10.0.0.0/8`, `fd00::1/128`), or a name in lower case without a dot
    at its end, `*.corp.example` for all names below one. `port` None is every port.
    """

    way: Way
    host: str
    port: int | None = None

    @property
    def is_by_name(self) -> bool:
        return "/" not in self.host

    @property
    def destination(self) -> str:
        """As a user writes it."""
        address, _, length = self.host.partition("/")
        host = address if length == ("128" if ":" in address else "32") else self.host
        if self.port is None:
            return host
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"--{self.way} {self.destination}"

    @classmethod
    def from_json(cls, fields: dict[str, object]) -> Rule:
        """The inverse of `dataclasses.asdict`; TypeError or ValueError when the fields are not a Rule's."""
        return cls(**{**fields, "way": Way(fields["way"])})  # type: ignore[arg-type]
