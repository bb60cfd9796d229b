"""What the user asked for, parsed once at the edge and never looked up again."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ClusterChoice:
    """Which cluster and namespace, and as whom; None and () mean what the kubeconfig says.

    `as_groups` needs `as_user`.
    """

    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None
    as_user: str | None = None
    as_groups: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, fields: dict[str, object]) -> ClusterChoice:
        """The inverse of `dataclasses.asdict`; TypeError when the fields are not a ClusterChoice's."""
        return cls(**{**fields, "as_groups": tuple(fields["as_groups"])})  # type: ignore[arg-type]


@dataclass(frozen=True)
class PortOverride:
    """`-p LAPTOP[:POD]`: connections to the pod's port reach the child on `laptop_port`."""

    laptop_port: int
    pod_port: int


@dataclass(frozen=True)
class EnvironmentChoice:
    """`--env-file`, `--env-json`, `--env-from`: absolute paths to be written, variables laid over all others.

    `laid_over` may carry secrets: never print it.
    """

    env_file: str | None = None
    env_json: str | None = None
    laid_over: dict[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class SwapIntent:
    """`swap KIND/NAME[:CONTAINER]` with its options. `kind` is lower case and singular.

    `image` None means the one that variable and settings choose. `grace_seconds` is how long the sidecar
    waits for a lost session. `ready_now` skips waiting for the child to listen.
    """

    cluster: ClusterChoice
    kind: str
    name: str
    container: str | None
    ports: tuple[PortOverride, ...]
    command: tuple[str, ...]
    holder: str
    image: str | None = None
    grace_seconds: float = 30.0
    ready_now: bool = False
    environment: EnvironmentChoice = EnvironmentChoice()

    def to_json(self) -> dict[str, object]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, object]) -> SwapIntent:
        """The inverse of `to_json`; TypeError when the fields are not a SwapIntent's."""
        ports = tuple(PortOverride(**port) for port in fields["ports"])  # type: ignore[attr-defined]
        return cls(**{**_of_every_intent(fields), "ports": ports})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Model:
    """`--like KIND/NAME[:CONTAINER]`: whose pod template a pod is made from."""

    kind: str
    name: str
    container: str | None = None


@dataclass(frozen=True)
class RunIntent:
    """`run` with its options. `name` None means one derived from user and session.

    `exposed` are the ports of the pod, and of its Service, with the child's port for each. The rest is as in
    SwapIntent.
    """

    cluster: ClusterChoice
    name: str | None
    model: Model | None
    service_account: str | None
    exposed: tuple[PortOverride, ...]
    command: tuple[str, ...]
    holder: str
    image: str | None = None
    grace_seconds: float = 30.0
    ready_now: bool = False
    environment: EnvironmentChoice = EnvironmentChoice()

    def to_json(self) -> dict[str, object]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, object]) -> RunIntent:
        """The inverse of `to_json`; TypeError when the fields are not a RunIntent's."""
        model = None if fields["model"] is None else Model(**fields["model"])  # type: ignore[arg-type]
        exposed = tuple(PortOverride(**port) for port in fields["exposed"])  # type: ignore[attr-defined]
        return cls(**{**_of_every_intent(fields), "model": model, "exposed": exposed})  # type: ignore[arg-type]


def _of_every_intent(fields: dict[str, object]) -> dict[str, object]:
    """The fields with those in their types that every intent has."""
    return {
        **fields,
        "cluster": ClusterChoice.from_json(fields["cluster"]),  # type: ignore[arg-type]
        "command": tuple(fields["command"]),  # type: ignore[arg-type]
        "environment": EnvironmentChoice(**fields["environment"]),  # type: ignore[arg-type]
    }


def is_header_value(text: str) -> bool:
    """Whether it may stand in an HTTP header (RFC 9110, 5.5): no line break or other control character."""
    return text.isprintable()
