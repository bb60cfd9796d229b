"""Programs of other people that tests run as the child, or build one with.

What is missing is installed, where the cluster is the project's own. With --context the machine is
somebody's: nothing is installed, and what needs a missing program is skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from integration.support.cluster import cache_directory
from integration.support.plain_user import SYSTEM_PATH
from integration.support.turns import turn

Need = Callable[[str], None]
"""`need(NAME)`, a name of PROGRAMS: it is there, or has been installed, or the test is skipped, or fails."""


@dataclass(frozen=True)
class Program:
    """`test` succeeds when it is there and new enough; `packages` of Debian and Ubuntu bring it."""

    test: tuple[str, ...]
    packages: tuple[str, ...]
    cost: str


PODMANS_LIBRARIES = ("libsubid4", "libgpgme11", "libdevmapper1.02.1", "libseccomp2", "libglib2.0-0")
_NODE_18 = "process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)"
PROGRAMS = {
    "java": Program(("javac", "--release", "11", "--version"), ("default-jdk-headless",), "250 MB, a minute"),
    "node": Program(("node", "-e", _NODE_18), ("nodejs",), "100 MB, half a minute"),
    "musl": Program(("musl-gcc", "--version"), ("musl-tools", "gcc", "libc6-dev"), "5 MB, some seconds"),
    "dig": Program(("dig", "-v"), ("bind9-dnsutils",), "5 MB, some seconds"),
    "vim": Program(("sh", "-c", "vi --version | grep -q VIM"), ("vim-tiny",), "5 MB, some seconds"),
    "fish": Program(("fish", "--version"), ("fish",), "20 MB, some seconds"),
    "sshfs": Program(("sshfs", "--version"), ("sshfs",), "1 MB, some seconds"),
    "sudo": Program(("sudo", "--version"), ("sudo",), "5 MB, some seconds"),
    "less": Program(("less", "--version"), ("less",), "1 MB, some seconds"),
    "servers": Program(
        ("sh", "-c", "ls /usr/lib/postgresql/*/bin/postgres && redis-server -v && nginx -v && git --version"),
        ("postgresql", "redis-server", "nginx-light", "git"),
        "60 MB, half a minute",
    ),
    "clients": Program(
        ("sh", "-ec", "for each in psql redis-cli nc wait-for-it curl sqlite3; do command -v $each; done"),
        ("postgresql-client", "redis-tools", "netcat-openbsd", "wait-for-it", "curl", "sqlite3"),
        "10 MB, some seconds",
    ),
    "jdbc": Program(
        ("ls", "/usr/share/java/postgresql.jar"), ("libpostgresql-jdbc-java",), "1 MB, some seconds"
    ),
    "grpc and httpx": Program(
        ("/usr/bin/python3", "-c", "import grpc, httpx"),
        ("python3-grpcio", "python3-httpx"),
        "15 MB, some seconds",
    ),
    "registry": Program(("docker-registry", "--version"), ("docker-registry",), "10 MB, some seconds"),
    "web": Program(
        ("sh", "-ec", "gunicorn --version; /usr/bin/python3 -c 'import websockets'"),
        ("gunicorn", "python3-websockets"),
        "2 MB, some seconds",
    ),
    # podman itself is unpacked beside the system, see containers.py
    "what podman needs": Program(
        (
            "sh",
            "-ec",
            "for each in runc newuidmap busybox; do command -v $each; done; ls /lib/*/libsubid.so.4",
        ),
        ("runc", "uidmap", "busybox-static", "golang-github-containers-common", *PODMANS_LIBRARIES),
        "20 MB, some seconds",
    ),
    # docker itself is unpacked beside the system, see docker.py
    "what docker needs": Program(
        (
            "sh",
            "-ec",
            "for each in containerd runc busybox; do command -v $each; done; "
            "ls /lib/*/libdevmapper.so.1.02.1",
        ),
        ("containerd", "runc", "busybox-static", "libdevmapper1.02.1"),
        "60 MB, half a minute",
    ),
    # the one that the cluster was built with, unless there is one on the PATH
    "go": Program(("go", "version"), (), ""),
}


def ensure(name: str, may_install: bool) -> None:
    """What `Need` promises; `may_install` on the project's own cluster, which needs root anyway."""
    program = PROGRAMS[name]
    if name == "go" and shutil.which("go") is None:
        os.environ["PATH"] += f":{cache_directory() / 'cluster' / 'go' / 'bin'}"
    if _works(program, name == "go"):
        return
    if not may_install:
        pytest.skip(f"this machine has no {name} that will do ({' '.join(program.packages) or name})")
    with turn("install"):  # whoever waited for it finds it there
        if not _works(program, name == "go"):
            _install(name, program)
    assert _works(program, name == "go"), f"{' '.join(program.test)} fails although {name} was installed"


def _works(program: Program, is_builder: bool) -> bool:
    """By the PATH that the child has; a builder runs as we do."""
    path = os.environ["PATH"] if is_builder else SYSTEM_PATH
    try:
        done = subprocess.run(
            program.test, env=os.environ | {"PATH": path}, capture_output=True, timeout=60, check=False
        )
    except FileNotFoundError:
        return False
    return done.returncode == 0


def _install(name: str, program: Program) -> None:
    assert program.packages, f"no {name} on the PATH"
    began = time.monotonic()
    print(f"test: installing {' '.join(program.packages)} ({program.cost})", file=sys.stderr, flush=True)
    # another installation may be under way on this machine
    apt_get = ("apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300")
    for words in (("update",), ("install", "-y", "--no-install-recommends", *program.packages)):
        subprocess.run(
            (*apt_get, *words),
            env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
            stdout=subprocess.DEVNULL,
            check=True,
        )
    print(f"test: {name} installed after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def unpack_packages(directory: Path, *names: str) -> None:
    """Those packages of Debian's below `directory`, beside the system: not installed, as that would start
    their daemons or be found by others. Once; whoever waited for it finds them there."""
    with turn("install"):
        if (directory / "whole").exists():
            return
        apt_get = ("apt-get", "-qq", "-o", "APT::Sandbox::User=root")
        directory.mkdir(parents=True, exist_ok=True, mode=0o755)
        subprocess.run((*apt_get, "update"), check=True)
        for name in names:
            subprocess.run((*apt_get, "download", name), cwd=directory, check=True)
            (package,) = directory.glob(f"{name}_*.deb")
            subprocess.run(("dpkg-deb", "-x", str(package), str(directory)), check=True)
            package.unlink()
        (directory / "whole").touch()
