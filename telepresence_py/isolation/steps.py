"""The steps of setting up namespaces, so that a refusal names the one that failed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import NamedTuple


class Step(Enum):
    """In the order in which they are taken; the values are read by users."""

    FILTER = "having seccomp ask about the command's calls"
    SUDO = "starting a process by sudo"
    DOCKER = "starting a process by docker"
    USER_NAMESPACE = "making a user namespace"
    PODMAN = "entering podman's user namespace"
    ID_MAP = "mapping the user's id into the user namespace"
    NAMESPACES = "making network, mount, host name and process namespaces"
    HOST_NAME = "setting the host name"
    INTERFACE = "making the network interface"
    ROUTE = "making every address lead to us"
    CAPTURE = "capturing connections with nftables (tproxy)"
    REDIRECTION = "capturing connections with nftables (redirect) and conntrack"
    LISTENERS = "opening the transparent sockets"
    MOUNTS = "mounting the pod's files"
    INIT = "starting the first process of the process namespace"


class Refusal(NamedTuple):
    """A step that the kernel refused; `detail` is the call's own message."""

    step: Step
    errno: int
    detail: str


class StepRefused(Exception):
    """Carries a Refusal out of the set-up."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal)
        self.refusal = refusal


@contextmanager
def taking(step: Step) -> Iterator[None]:
    """OSError inside becomes StepRefused of that step."""
    try:
        yield
    except OSError as error:
        raise StepRefused(Refusal(step, error.errno or 0, error.strerror or str(error))) from error
