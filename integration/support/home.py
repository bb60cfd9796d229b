"""The network that a laptop stands in: addresses and names that nobody in the cluster knows.

It is inside the laptop of `laptop_beside`, on its loopback device: what arrives there was sent by the laptop.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from integration.probe.asking import PYTHON_PROBE, Probe
from integration.support.laptop import LAPTOP, Elsewhere, enter, laptop_beside
from integration.support.namespaces import Namespace
from integration.support.plain_user import PlainUser
from telepresence_py.process.kernel import CLONE_NEWNS, MS_BIND, MS_REC, MS_SLAVE, mount, unshare

ADDRESSES = ("192.0.2.33", "192.0.2.34", "192.0.2.77", "192.0.2.79", "fd00:77::77")
"""Of RFC 5737, and a unique local one. On each of them answer HTTP 8080 (as `home`) and UDP 7001."""

_HOSTS = "127.0.0.1 localhost\n::1 localhost\n"


@dataclass(frozen=True)
class AtHome(Elsewhere):
    """That user on the laptop of `home_of`, with a hosts file of its own."""

    hosts: Path

    def popen_arguments(self) -> dict[str, object]:
        return {"preexec_fn": partial(_enter, self.hosts, self.uid, self.gid)}


@dataclass(frozen=True)
class Home:
    """`user` runs programs in it."""

    user: PlainUser
    hosts: Path

    def name(self, names: Mapping[str, str]) -> None:
        """From now on the laptop's resolver knows these names, each with its address, and no others."""
        self.hosts.write_text(_HOSTS + "".join(f"{address} {name}\n" for name, address in names.items()))


@contextlib.contextmanager
def home_of(user: PlainUser, place: Namespace, address: str) -> Iterator[Home]:
    """A home for the laptop of a developer who reaches the own cluster's API server from `address`."""
    server = urlsplit(place.cluster.address()["server"]).hostname
    assert server is not None
    with laptop_beside(server, address), tempfile.NamedTemporaryFile(prefix="tpp-hosts-") as hosts:
        os.chmod(hosts.name, 0o644)
        for each in ADDRESSES:
            subprocess.run(["ip", "-n", LAPTOP, "addr", "add", each, "dev", "lo"], check=True)
        listen = [word for each in ADDRESSES for word in (f"http:8080@{each}", f"udp:7001@{each}")]
        command = ["ip", "netns", "exec", LAPTOP, sys.executable, str(PYTHON_PROBE), "ask", *listen]
        fields = {each.name: getattr(user, each.name) for each in dataclasses.fields(user)}
        home = Home(AtHome(**fields, hosts=Path(hosts.name)), Path(hosts.name))
        home.name({})
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env=os.environ | {"PROBE_WHO": "home"},
        ) as answering:
            assert Probe(answering).ask("hostname"), "it listens once it answers"
            try:
                yield home
            finally:
                answering.terminate()


def _enter(hosts: Path, uid: int, gid: int) -> None:
    unshare(CLONE_NEWNS)
    mount(None, "/", None, MS_REC | MS_SLAVE)
    mount(str(hosts), "/etc/hosts", None, MS_BIND)
    enter(uid, gid)
