"""What the ends tell each other outside of streams, as frozen values. Pure.

On the wire each is a JSON object: its class's name under "is", its fields beside it. The pod speaks first:
Hello.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from .frames import ProtocolError


@dataclass(frozen=True)
class Hello:
    """Pod: who I am. `facts` are the fields of the laptop's PodFacts; `unserved` maps ports, as in 53 or
    53/udp, to reasons."""

    protocol: int
    facts: dict[str, object]
    unserved: dict[str, str]


@dataclass(frozen=True)
class Listening:
    """Laptop: connections to these ports of the pod are taken now; those to others wait."""

    ports: list[int]


@dataclass(frozen=True)
class Ready:
    """Laptop: the answer to readiness probes."""

    ready: bool


@dataclass(frozen=True)
class HandOver:
    """Laptop: the original is back at these addresses; what waits and what comes goes there."""

    addresses: list[str]


@dataclass(frozen=True)
class HandedOver:
    """Pod: done so."""


@dataclass(frozen=True)
class Leave:
    """Laptop: I shall not come back."""


@dataclass(frozen=True)
class Goodbye:
    """Pod: understood; the link may be cut."""


Message = Hello | Listening | Ready | HandOver | HandedOver | Leave | Goodbye

_CLASSES: dict[str, type[Message]] = {
    cls.__name__: cls for cls in (Hello, Listening, Ready, HandOver, HandedOver, Leave, Goodbye)
}


def to_json(message: Message) -> dict[str, object]:
    return {"is": type(message).__name__, **dataclasses.asdict(message)}


def from_json(fields: dict[str, object]) -> Message:
    """ProtocolError when it is no message that this version knows."""
    values = dict(fields)
    cls = _CLASSES.get(str(values.pop("is", None)))
    try:
        if cls is not None:
            return cls(**values)  # type: ignore[arg-type]
    except TypeError as error:
        raise ProtocolError(f"malformed message {fields.get('is')}") from error
    raise ProtocolError(f"unknown message {fields.get('is')!r}")
