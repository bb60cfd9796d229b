"""What this operating system gives: Linux all that the product has, macOS enough for `--method proxy`.

The only room that asks Python which system this is. Others ask `system.LINUX`, where they have another way
for the rest. What is Linux's alone stands in modules of its own, which scripts/mypy-macos.ini lists.
"""

from __future__ import annotations

import socket
import sys
import time

PLATFORM = sys.platform
"""As Python calls it: `linux`, `darwin`, `win32`."""

LINUX = PLATFORM == "linux"
"""mypy takes it for false where it checks what macOS runs, see scripts/mypy-macos.ini."""

_NAMES = {"linux": "Linux", "darwin": "macOS", "win32": "Windows"}


def name() -> str:
    """As people call it."""
    return _NAMES.get(PLATFORM, PLATFORM)


def tcp_socket(family: int) -> socket.socket:
    """A TCP socket that does not block; the caller closes it."""
    return _not_blocking(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)


def udp_socket(family: int) -> socket.socket:
    """The same of UDP."""
    return _not_blocking(family, socket.SOCK_DGRAM, socket.IPPROTO_UDP)


def _not_blocking(family: int, kind: int, protocol: int) -> socket.socket:
    if LINUX:
        return socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
    made = socket.socket(family, kind, protocol)
    made.setblocking(False)
    return made


def seconds_awake_or_not() -> float:
    """A clock that goes on while the laptop sleeps."""
    if LINUX:
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.clock_gettime(time.CLOCK_MONOTONIC)  # as macOS has it; Python's time.monotonic() there stops


def notices_its_end() -> list[tuple[int, int, int]]:
    """Socket options by which a TCP connection that has died in silence ends within 10 s: tcp(7)."""
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    if LINUX:
        options.append((socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 4))
        options.append((socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 10_000))
    elif hasattr(socket, "TCP_KEEPALIVE"):
        options.append((socket.IPPROTO_TCP, socket.TCP_KEEPALIVE, 4))
    options.append((socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2))
    options.append((socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3))
    return options
