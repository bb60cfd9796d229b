"""PURE. The files by which programs find names, completed so that nothing of the laptop answers instead."""

from __future__ import annotations

from telepresence_py.model.world import NetworkView

NSSWITCH = "/etc/nsswitch.conf"
HOSTNAME = "/etc/hostname"

LAPTOP_RESOLVERS = ("/run/nscd", "/run/systemd/resolve", "/run/avahi-daemon")
"""Where daemons of the laptop answer for names: glibc asks nscd before it reads any file, nss-resolve and
mdns have their sockets in the others. They are covered by nothing, where they exist."""


def name_files(view: NetworkView, laptop_files: dict[str, bytes]) -> dict[str, bytes]:
    """`view.files` with nsswitch.conf and hostname added, unless given, where the laptop has them.

    `laptop_files` maps those of NSSWITCH and HOSTNAME that exist to their contents. A laptop without
    nsswitch.conf (musl) needs none: files, then DNS, is what libc does by itself.
    """
    added: dict[str, bytes] = {}
    if NSSWITCH in laptop_files:
        added[NSSWITCH] = hosts_by_dns(laptop_files[NSSWITCH])
    if HOSTNAME in laptop_files:
        added[HOSTNAME] = view.hostname.encode() + b"\n"
    return {**added, **view.files}


def hosts_by_dns(nsswitch: bytes) -> bytes:
    """The laptop's nsswitch.conf, where hosts are looked up in the hosts file and DNS alone.

    The other databases stay: users and groups are the laptop's.
    """
    others = [line for line in nsswitch.splitlines() if line.split(b":")[0].strip() != b"hosts"]
    return b"\n".join([*others, b"hosts: files dns", b""])
