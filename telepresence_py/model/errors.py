"""What can go wrong, as types; the exit code is part of the type.

    TelepresenceError
      BadUsage 2             NamedObjectMissing 66      ClusterUnreachable 69     InternalError 70
      WorkloadHeld 73        SessionLost 75             NoRights 77               PreconditionFailed 78
      CommandNotExecutable 126                          CommandNotFound 127

One message is one sentence: what was tried, on which object, and what to do next. Causes are chained with
`raise ... from`, and shown with `--debug` only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar


class TelepresenceError(Exception):
    """Base of everything that the tool says to its user; never raised itself."""

    exit_code: ClassVar[int] = 70

    @property
    def sentence(self) -> str:
        return str(self)


class BadUsage(TelepresenceError):
    """The command line is malformed."""

    exit_code = 2


class NamedObjectMissing(TelepresenceError):
    """A workload, container, port, context or namespace that was named does not exist."""

    exit_code = 66


class ClusterUnreachable(TelepresenceError):
    """The API server does not answer, or does not know us (expired credentials)."""

    exit_code = 69


class InternalError(TelepresenceError):
    """A bug of ours, or an answer that we do not understand."""

    exit_code = 70


class WorkloadHeld(TelepresenceError):
    """Another session stands in for the workload."""

    exit_code = 73


class SessionLost(TelepresenceError):
    """The session ended from outside: link lost for good, or workload deleted."""

    exit_code = 75


class NoRights(TelepresenceError):
    """The cluster refused a verb on a resource."""

    exit_code = 77


class PreconditionFailed(TelepresenceError):
    """Image, quota, kernel feature or kind of workload: something needed is not there."""

    exit_code = 78


class CommandNotExecutable(TelepresenceError):
    exit_code = 126


class CommandNotFound(TelepresenceError):
    exit_code = 127


def error_named(name: str) -> type[TelepresenceError]:
    """The class of that name, for errors that crossed the session's door; InternalError if unknown."""
    return {cls.__name__: cls for cls in TelepresenceError.__subclasses__()}.get(name, InternalError)


@contextmanager
def one_error() -> Iterator[None]:
    """Let one TelepresenceError out alone where tasks side by side raise groups of them.

    The others say the same of another object. A group with anything else in it (a bug, a cancellation)
    stays as it is.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        ours, others = group.split(TelepresenceError)
        if ours is None or others is not None:
            raise
        first: BaseException = ours
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from group
