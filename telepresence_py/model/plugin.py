"""A credential plugin of a kubeconfig, to be run by whoever may: one room knows why, another how.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum


class Interaction(Enum):
    """Whether the plugin wants its user's terminal; the values are the kubeconfig's interactiveMode."""

    NEVER = "Never"
    IF_AVAILABLE = "IfAvailable"
    ALWAYS = "Always"


class Failure(Enum):
    """Why a plugin has not come to an end of its own."""

    MISSING = "it was not found"
    NOT_EXECUTABLE = "it cannot be executed"
    NO_TERMINAL = "it needs a terminal and there is none"
    TERMINAL_TAKEN = "it needs the terminal, which is the command's now"
    TOO_LATE = "it did not end in time"


@dataclass(frozen=True)
class PluginCall:
    """`environment` is laid over one's own; in `info`, for KUBERNETES_EXEC_INFO, `spec.interactive` is added
    by whoever runs it."""

    command: tuple[str, ...]
    environment: dict[str, str] = field(repr=False)
    info: dict[str, object] = field(repr=False)
    interaction: Interaction


@dataclass(frozen=True)
class PluginEnd:
    """`status` is the exit code or minus a signal's number, without meaning beside a `failure`.

    `output` is what stood on stdout: a credential, never to be shown. `complaint` is the end of its stderr
    where the user has not seen that yet.
    """

    status: int = 0
    output: str = field(default="", repr=False)
    complaint: str = ""
    failure: Failure | None = None


RunPlugin = Callable[[PluginCall], PluginEnd]
"""Blocks until the plugin has ended; raises nothing. Called from worker threads."""
