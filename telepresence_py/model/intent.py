"""What the user asked for, parsed once at the edge and never looked up again."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from telepresence_py.model.rules import Rule

ENV_FORMATS = ("dotenv", "json", "shell", "fish", "powershell", "docker")
"""Of `--env-format`; the first one unless another is chosen."""

METHODS = ("userns", "redirect", "podman", "sudo", "docker", "seccomp", "proxy")
"""Of `--method`, in the order of isolation's table."""

METHODS_BESIDE = ("seccomp", "proxy")
"""Those by which the child stays on the laptop's own network and files."""


ON_LOST = ("swap", "exit")
"""Of `--on-lost`: swap again when the cluster is back, or end."""

VOLUME_WAYS = ("copy", "live", "off")
"""Of `--volume PATH=WAY`."""


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
    """`-p LAPTOP[:POD][/PROTOCOL]`: what comes to the pod's port reaches the child on `laptop_port`."""

    laptop_port: int
    pod_port: int
    protocol: str = "TCP"


_GLOBS = ("include", "exclude", "unset")


@dataclass(frozen=True)
class EnvironmentChoice:
    """The options `--env...` and `--unset`. `include` (none is all) and `exclude` are globs that choose among
    the pod's variables; `unset` are globs of what the child has neither from the pod nor from the laptop.

    `laid_over`, from `--env-from` and `--env`, is over all others; it may carry secrets: never print it.
    `env_file` and `env_json` are absolute paths to be written, the first in `env_format`, one of ENV_FORMATS.
    """

    env_file: str | None = None
    env_json: str | None = None
    laid_over: dict[str, str] = field(default_factory=dict, repr=False)
    env_format: str = ENV_FORMATS[0]
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    unset: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, fields: dict[str, object]) -> EnvironmentChoice:
        """The inverse of `dataclasses.asdict`; TypeError when the fields are not an EnvironmentChoice's."""
        tuples = {name: tuple(fields[name]) for name in _GLOBS}  # type: ignore[arg-type,var-annotated]
        return cls(**{**fields, **tuples})  # type: ignore[arg-type]


@dataclass(frozen=True)
class PublishedPort:
    """`--publish [LAPTOP:]CHILD`: who calls that port of the laptop's loopback reaches the child's."""

    laptop_port: int
    child_port: int


@dataclass(frozen=True)
class LocalhostChoice:
    """`localhost` both ways. `publish_others`: whatever else the child listens on, too, under its own number.

    `pod_localhost` are ports that the child finds on the pod's loopback, `from_pod` those of the child that
    containers of the pod find there.
    """

    published: tuple[PublishedPort, ...] = ()
    publish_others: bool = True
    pod_localhost: tuple[int, ...] = ()
    from_pod: tuple[int, ...] = ()

    @classmethod
    def from_json(cls, fields: dict[str, object]) -> LocalhostChoice:
        """The inverse of `dataclasses.asdict`; TypeError when the fields are not a LocalhostChoice's."""
        typed = {
            "published": tuple(PublishedPort(**port) for port in fields["published"]),  # type: ignore[attr-defined]
            "pod_localhost": tuple(fields["pod_localhost"]),  # type: ignore[arg-type]
            "from_pod": tuple(fields["from_pod"]),  # type: ignore[arg-type]
        }
        return cls(**{**fields, **typed})  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Intent:
    """What every session is asked for.

    `image` None means the one that variable and settings choose. `grace_seconds` is how long the sidecar
    waits for a lost session. `ready_now` skips waiting for the child to listen. With `fast_connect` the
    child's connect() succeeds at once, whatever the far side will say. `method`, one of METHODS, is how the
    child is isolated; None means the first that works. `volumes` has one of VOLUME_WAYS for paths in the pod,
    which have no slash at their end. `prefix`, an absolute path, is the directory of the laptop below which
    the child finds the pod's volumes, too. `files` are absolute paths of the container that no volume holds,
    without a slash at their end. With `container_image` the child is a container of that image; an empty
    `command` is then the image's own. With `dry_run` all is read and checked, and what would be done is told.
    """

    cluster: ClusterChoice
    command: tuple[str, ...]
    holder: str
    image: str | None = None
    grace_seconds: float = 30.0
    ready_now: bool = False
    fast_connect: bool = False
    environment: EnvironmentChoice = EnvironmentChoice()
    rules: tuple[Rule, ...] = ()
    localhost: LocalhostChoice = LocalhostChoice()
    method: str | None = None
    volumes: dict[str, str] = field(default_factory=dict)
    prefix: str | None = None
    files: tuple[str, ...] = ()
    container_image: str | None = None
    dry_run: bool = False

    @property
    def whole_command(self) -> tuple[str, ...]:
        """The words that tell a user what runs."""
        return self.command if self.container_image is None else (self.container_image, *self.command)

    @property
    def laptop_command(self) -> tuple[str, ...]:
        """The command where it is one of the laptop, and not of a container."""
        return self.command if self.container_image is None else ()

    def to_json(self) -> dict[str, object]:
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True)
class SwapIntent(Intent):
    """`swap KIND/NAME[:CONTAINER]` with its options. `kind` is lower case and singular. `on_lost`, one of
    ON_LOST, is what to do when the link was lost for longer than the grace period."""

    kind: str
    name: str
    container: str | None
    ports: tuple[PortOverride, ...]
    on_lost: str = "swap"

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


@dataclass(frozen=True, kw_only=True)
class RunIntent(Intent):
    """`run` with its options. `name` None means one derived from user and session. `exposed` are the ports of
    the pod, and of its Service, with the child's port for each."""

    name: str | None
    model: Model | None
    service_account: str | None
    exposed: tuple[PortOverride, ...]

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
        "environment": EnvironmentChoice.from_json(fields["environment"]),  # type: ignore[arg-type]
        "rules": tuple(Rule.from_json(rule) for rule in fields["rules"]),  # type: ignore[attr-defined]
        "localhost": LocalhostChoice.from_json(fields["localhost"]),  # type: ignore[arg-type]
        "files": tuple(fields["files"]),  # type: ignore[arg-type]
    }


def is_header_value(text: str) -> bool:
    """Whether it may stand in an HTTP header (RFC 9110, 5.5): no line break or other control character."""
    return text.isprintable()
