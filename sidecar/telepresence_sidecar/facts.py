"""What the container was given, and what the pod is on its network."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

from .contract import __version__

IMAGE_ENVIRONMENT = Path("/telepresence-py/image-env.json")
"""Written when the image is built: the variables that the image itself sets."""

_PROBES = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
"""Documentation addresses (RFC 5737, RFC 3849): a connected UDP socket picks a source for them, sends
nothing."""


def given_environment(environment: Mapping[str, str], image: Mapping[str, str]) -> dict[str, str]:
    """What of `environment` the pod gave: everything but variables that have the image's very value."""
    return {name: value for name, value in environment.items() if image.get(name) != value}


def own_addresses(hosts: str, hostname: str, is_own: Callable[[str], bool]) -> tuple[str, ...]:
    """The pod's addresses as its hosts file lists them, which is the order of its status: primary family
    first."""
    found: list[str] = []
    for line in hosts.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        if hostname in names and address not in found and is_own(address):
            found.append(address)
    return tuple(found)


def read_facts() -> dict[str, object]:
    """The fields of the laptop's PodFacts. Bytes that are no UTF-8 carry surrogate escapes."""
    hosts, hostname = _read("/etc/hosts"), socket.gethostname()
    return {
        "version": __version__,
        "hostname": hostname,
        "addresses": own_addresses(hosts, hostname, is_own_address) or _source_addresses(),
        "environment": given_environment(os.environ, _image_environment()),
        "resolv_conf": read_resolv_conf(),
        "hosts": hosts,
    }


def read_resolv_conf() -> str:
    """The kubelet may write it anew: read when asked."""
    return _read("/etc/resolv.conf")


def _image_environment() -> dict[str, str]:
    try:
        recorded = json.loads(IMAGE_ENVIRONMENT.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return recorded if isinstance(recorded, dict) else {}


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


def is_own_address(address: str) -> bool:
    """Whether the pod has this address; loopback does not count."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return not address.startswith(("127.", "::1"))


def _source_addresses() -> tuple[str, ...]:
    found = []
    for family, target in _PROBES:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((target, 9))
                found.append(str(probe.getsockname()[0]))
        except OSError:
            continue
    return tuple(found)
