"""What all figures share: the namespace, the product in it, how long there is, and what is told meanwhile."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import psutil

from integration.support.cluster import KubectlFailed
from integration.support.namespaces import Namespace
from integration.support.plain_user import PlainUser

from .asking import Failed
from .figures import Figure
from .pods import TunnelPod, make_tunnel_pod

TROUBLE = (
    AssertionError,
    Failed,
    KubectlFailed,
    LookupError,
    OSError,
    ValueError,
    psutil.Error,
    subprocess.SubprocessError,
)
"""What may keep a figure from being measured, on a machine and a cluster of whatever state."""


@dataclass(frozen=True)
class Stage:
    """`kubeconfig` is a developer's in the namespace. `loss` is in percent of the link's packets. No round
    begins that would end after `ends`, a time of the monotonic clock. `connect` is how sessions connect."""

    namespace: Namespace
    user: PlainUser
    kubeconfig: dict[str, Any]
    rivals: tuple[str, ...]
    parts: tuple[str, ...]
    is_quick: bool
    loss: float = 0.0
    ends: float = field(default=float("inf"))
    connect: str = "truthful"

    @cached_property
    def pod(self) -> TunnelPod:
        """Made when it is first asked for; it ends with the namespace."""
        return make_tunnel_pod(self.namespace)

    def rounds(self, most: int, once: Callable[[int], None], name: str, share: float = 1.0) -> None:
        """`once(NUMBER)` from 1 on, as often as that share of the time left allows, but once at least."""
        longest, now = 0.0, time.monotonic()
        ends = now + share * (self.ends - now)
        for number in range(1, most + 1):
            began = time.monotonic()
            if number > 1 and began + longest > ends:
                say(f"{name}: {number - 1} of {most} rounds, for want of time")
                return
            once(number)
            longest = max(longest, time.monotonic() - began)


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def attempted(name: str, measure: Callable[[], list[Figure]], group: str = "") -> list[Figure]:
    """What was measured, or a row that says why there is nothing: no figure may lose the others."""
    began = time.monotonic()
    try:
        found = measure()
    except TROUBLE as error:
        say(f"{name}: {type(error).__name__}: {error}")
        return [Figure(name, "", group=group, failed=f"{type(error).__name__}: {error}")]
    say(f"{name}: {time.monotonic() - began:.0f} s")
    return found
