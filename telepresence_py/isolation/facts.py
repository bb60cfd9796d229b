"""What this machine says about isolation, gathered once."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from telepresence_py import system
from telepresence_py.isolation.contract import FUSE_DEVICE


@dataclass(frozen=True)
class HostFacts:
    """Settings that decide which method works, and why one does not. None where there is none.

    `seccomp` is this process's mode (2: filtered). `container` names what we seem to run in, or is empty.
    `sudo`, `docker`, `nsenter`, `find` and `setpriv` are their paths, empty where there is none.
    """

    platform: str
    kernel: str
    user_id: int
    max_user_namespaces: int | None = None
    max_net_namespaces: int | None = None
    unprivileged_userns_clone: int | None = None
    apparmor_restricts_userns: int | None = None
    seccomp: int = 0
    container: str = ""
    sudo: str = ""
    setpriv: str = ""
    docker: str = ""
    nsenter: str = ""
    find: str = ""


def gather() -> HostFacts:
    """Reads files below /proc and /run only; changes nothing."""
    return HostFacts(
        platform=system.PLATFORM,
        kernel=os.uname().release,
        user_id=os.geteuid(),
        max_user_namespaces=_number("/proc/sys/user/max_user_namespaces"),
        max_net_namespaces=_number("/proc/sys/user/max_net_namespaces"),
        unprivileged_userns_clone=_number("/proc/sys/kernel/unprivileged_userns_clone"),
        apparmor_restricts_userns=_number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
        seccomp=_seccomp(),
        container=_container(),
        sudo=shutil.which("sudo") or "",
        setpriv=_of_the_system("setpriv"),
        docker=shutil.which("docker") or "",
        nsenter=_of_the_system("nsenter"),
        find=_of_the_system("find"),
    )


def _of_the_system(name: str) -> str:
    """The path of a program that root shall run: none that the user's own PATH leads to."""
    return shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin") or ""


def laptop_file(path: str) -> bytes | None:
    """The contents of a file, or None if it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError:
        return None


def _number(path: str) -> int | None:
    content = laptop_file(path)
    return int(content) if content is not None else None


def _seccomp() -> int:
    for line in (laptop_file("/proc/self/status") or b"").splitlines():
        if line.startswith(b"Seccomp:"):
            return int(line.split()[1])
    return 0


def _container() -> str:
    if os.path.exists("/.dockerenv"):
        return "Docker"
    return "a container" if os.path.exists("/run/.containerenv") else ""


def no_live_volumes() -> str | None:
    """A clause that says why this machine's kernel does not let us serve files (FUSE); None if it does."""
    try:
        os.close(os.open(FUSE_DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return f"this machine has no {FUSE_DEVICE}: `modprobe fuse` as root makes it"
    except PermissionError:
        return (
            f"you may not open {FUSE_DEVICE}: `chmod 666 {FUSE_DEVICE}` as root lets you, as usual elsewhere"
        )
    except OSError as error:
        return f"{FUSE_DEVICE} cannot be opened: {error.strerror}"
    release = tuple(int(number) for number in re.findall(r"\d+", os.uname().release)[:2])
    if release < (4, 18):
        return f"that needs Linux 4.18 or newer, this is {os.uname().release}"
    return None
