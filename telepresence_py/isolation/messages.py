"""PURE. What the agent and the session process say to each other, as JSON on a sequenced-packet socket.

1. session: one packet with one descriptor, a file that holds the NetworkView (`encode_view`).
2. agent: `Refused`, and its end; or `Born`, and from then on it is that process who speaks; `Refused`, or
   `Handed`s, each with as many descriptors as names, and then `Ready`. What is handed as `live:PATH` is to be
   served at once, as later mounts may have to look into it.
3. session: `socket_request(family)` as often as it likes; agent: `Handed(("socket",))` with it, or `Refused`.
The end of the socket is the end of the agent and of every process in its namespaces.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Mapping
from typing import NamedTuple

from telepresence_py.isolation.steps import Refusal, Step
from telepresence_py.model.world import NetworkView

MOST_DESCRIPTORS = 100
"""Per packet; the kernel's limit is 253."""


class Born(NamedTuple):
    """The agent is this child of the session process now; the program that was started ends. 0 where that one
    goes on."""

    pid: int


class Handed(NamedTuple):
    """The packet carries these descriptors, in this order. Names are `kind` or `kind:detail`."""

    names: tuple[str, ...]


class Ready(NamedTuple):
    """All stands. `notices` are sentences about what is less than perfect."""

    notices: tuple[str, ...]


class Refused(NamedTuple):
    refusal: Refusal


class Broken(NamedTuple):
    """A bug of the agent's: its traceback."""

    traceback: str


Message = Born | Handed | Ready | Refused | Broken


def encode_view(view: NetworkView) -> bytes:
    return json.dumps(
        {
            "hostname": view.hostname,
            "addresses": view.addresses,
            "files": _as_text(view.files),
            "volume_paths": view.volume_paths,
            "volume_files": _as_text(view.volume_files),
            "writable_volume_paths": sorted(view.writable_volume_paths),
            "live_volume_paths": view.live_volume_paths,
            "helper_ports": view.helper_ports,
            "held": view.held,
            "redirected": view.redirected,
            "prefix": view.prefix,
            "below_prefix": sorted(view.below_prefix),
            "file_modes": dict(view.file_modes),
            "container": view.container,
        }
    ).encode()


def decode_view(data: bytes) -> NetworkView:
    fields = json.loads(data)
    return NetworkView(
        hostname=fields["hostname"],
        addresses=tuple(fields["addresses"]),
        files=_as_bytes(fields["files"]),
        volume_paths=tuple(fields["volume_paths"]),
        volume_files=_as_bytes(fields["volume_files"]),
        writable_volume_paths=frozenset(fields["writable_volume_paths"]),
        live_volume_paths=tuple(fields["live_volume_paths"]),
        helper_ports=tuple(fields["helper_ports"]),
        held=fields["held"],
        redirected=fields["redirected"],
        prefix=fields["prefix"],
        below_prefix=frozenset(fields["below_prefix"]),
        file_modes=fields["file_modes"],
        container=fields["container"],
    )


def _as_text(files: Mapping[str, bytes]) -> dict[str, str]:
    return {path: binascii.b2a_base64(content, newline=False).decode() for path, content in files.items()}


def _as_bytes(files: dict[str, str]) -> dict[str, bytes]:
    return {path: binascii.a2b_base64(content) for path, content in files.items()}


def encode(message: Message) -> bytes:
    if isinstance(message, Refused):
        step, errno, detail = message.refusal
        return json.dumps({"is": "refused", "step": step.name, "errno": errno, "detail": detail}).encode()
    return json.dumps({"is": type(message).__name__.lower(), **message._asdict()}).encode()


def decode(packet: bytes) -> Message:
    fields = json.loads(packet)
    match fields["is"]:
        case "born":
            return Born(fields["pid"])
        case "handed":
            return Handed(tuple(fields["names"]))
        case "ready":
            return Ready(tuple(fields["notices"]))
        case "refused":
            return Refused(Refusal(Step[fields["step"]], fields["errno"], fields["detail"]))
        case _:
            return Broken(fields["traceback"])


def socket_request(family: int) -> bytes:
    return b"%d" % family


def requested_family(packet: bytes) -> int:
    """The inverse of `socket_request`."""
    return int(packet)
