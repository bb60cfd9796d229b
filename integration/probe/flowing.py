"""A session whose child moves bytes in both directions, and what it says of its link."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from integration.probe.asking import Probe
from integration.probe.manifests import Object
from integration.probe.swapping import Swap, swapped
from integration.support.aftermath import sidecar_pods
from integration.support.link import Link
from integration.support.namespaces import Namespace
from integration.support.product import Product
from integration.support.waiting import wait_until
from telepresence_sidecar.contract import LOST_LOG_PREFIX
from telepresence_sidecar.contract.heartbeat import INTERVAL, SILENCE

LISTEN = ("http:8080", "echo:7000", "lazy:7002")
PORTS = {"http": 8080, "echo": 7000, "lazy": 7002, "read": 7003}
SPEEDS = {"bulk": (64 << 10, 30.0), "trickle": (100, 20.0)}
"""Bytes at a time, and times per second: bulk is 2 MB/s each way, so that four flows leave time to others."""
LOST = "Link to the cluster lost"
BACK = r"Link back after [\d.]+ s: no connection was lost"
PATIENCE = 120.0
"""A deadline, no promise."""


@dataclass
class Session:
    """A swap of `workload`. `outside` asks flow.py in a pod: whom the child talks to, and a client."""

    namespace: Namespace
    product: Product
    workload: str
    swap: Swap
    outside: Probe

    @property
    def ends(self) -> dict[str, tuple[Probe, str]]:
        """Who opens connections, and to whom."""
        return {"out": (self.swap.probe, "far"), "in": (self.outside, self.workload)}

    def told(self) -> tuple[int, int]:
        """How often it was said that the link is lost, and that it is back."""
        said = self.swap.running.err
        return len(re.findall(LOST, said)), len(re.findall(BACK, said))

    @contextlib.contextmanager
    def outage(self) -> Iterator[None]:
        """The body makes and ends one outage of the link: it is told once, and so is its end."""
        lost, back = self.told()
        yield
        seen = lambda: self.swap.running.err  # noqa: E731
        wait_until(lambda: self.told()[1] > back, PATIENCE, "the link is back", seen=seen)
        assert self.told() == (lost + 1, back + 1), self.swap.running.err

    def wait_told_lost(self, times: int) -> None:
        wait_until(
            lambda: self.told()[0] == times,
            SILENCE + INTERVAL + PATIENCE,
            f"{LOST!r} is said {times} times",
            seen=lambda: self.swap.running.err,
        )

    def sidecars_that_lost_it(self) -> int:
        """How many sidecars have no client now, by the last word of each in its log."""
        lost = 0
        for pod in sidecar_pods(self.namespace, self.workload):
            log = self.namespace.kubectl("logs", pod["metadata"]["name"], "-c", "main").splitlines()
            lost += [line for line in log if line.startswith("client ")][-1].startswith(LOST_LOG_PREFIX)
        return lost


@dataclass
class Linked(Session):
    """A session behind `link`."""

    link: Link

    def break_down(self) -> None:
        """Cut and closed; until the user was told."""
        before = self.told()[0]
        self.link.refuse()
        self.link.cut()
        self.wait_told_lost(before + 1)


@dataclass
class Flows:
    """Connections that transfer bytes, by name: `out-bulk`."""

    linked: Session
    names: list[str] = field(default_factory=list)

    def open(self, name: str, size: int, per_second: float, port: int = PORTS["echo"]) -> None:
        """The first part of the name tells the direction."""
        opener, host = self.linked.ends[direction_of(name)]
        opener.ask("open", flow=name, host=host, port=port, size=size, per_second=per_second)
        self.names.append(name)

    def look(self) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        for opener, _ in self.linked.ends.values():
            seen |= opener.ask("look")
        assert [f"{name}: {one['wrong']}" for name, one in seen.items() if one["wrong"]] == []
        return {name: seen[name] for name in self.names}

    def wait_move(self, *names: str) -> None:
        """Until more has come back on each of them, or on all."""
        before = self.look()
        chosen = names or tuple(self.names)

        def moved() -> bool:
            now = self.look()
            return all(now[name]["back"] > before[name]["back"] for name in chosen)

        wait_until(moved, PATIENCE, f"{chosen} go on", every=0.2, seen=lambda: (before, self.look()))

    def wait_standstill(self, *names: str) -> dict[str, Any]:
        """Until their senders are held up: nothing more was taken of them for 2 s."""
        looks = [self.look()]

        def stand() -> bool:
            looks.append(self.look())
            last = looks[-11:]
            return len(last) == 11 and all(
                one[n]["sent"] == last[0][n]["sent"] for one in last for n in names
            )

        wait_until(stand, PATIENCE, f"{names} stand still", every=0.2, seen=lambda: looks[-3:])
        return looks[-1]

    def finish(self, *names: str) -> None:
        """No more is sent; all that was has come back, unchanged and in order."""
        for name in names or tuple(self.names):
            opener, _ = self.linked.ends[direction_of(name)]
            end = opener.ask("finish", PATIENCE + 10, flow=name, at_most=PATIENCE)
            self.names.remove(name)
            assert end["wrong"] == "", f"{name}: {end}"
            assert not end["late"], f"{name}: {end}"
            assert end["same"], f"{name}: {end}"
            assert end["sent"] == end["back"], f"{name}: {end}"


def direction_of(name: str) -> str:
    return name.partition("-")[0]


def ports(names: dict[str, int]) -> list[Object]:
    return [{"name": name, "port": port, "targetPort": port} for name, port in names.items()]


@contextlib.contextmanager
def outside(place: Namespace) -> Iterator[Probe]:
    """flow.py in the pod of `far`, asked past the link."""
    words = ("exec", "-i", "deployment/far", "--", "python3", "/probe/flow.py")
    command = place.cluster.kubectl_command("-n", place.name, *words)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as carrier:
        try:
            yield Probe(carrier)
        finally:
            carrier.kill()  # it may have lost its own connection, and would not notice the end of its stdin


@contextlib.contextmanager
def session_of(place: Namespace, product: Product, workload: str, *options: str) -> Iterator[Session]:
    program = product.source("integration/probe/flow.py")
    child = ("env", "PROBE_WHO=laptop", product.python, program, *LISTEN)
    with outside(place) as asked, swapped(product, workload, *options, child=child) as swap:
        yield Session(place, product, workload, swap, asked)


@contextlib.contextmanager
def session_behind(
    link: Link, place: Namespace, product: Product, workload: str, *options: str
) -> Iterator[Linked]:
    with session_of(place, product, workload, *options) as session:
        yield Linked(place, product, workload, session.swap, session.outside, link)


@contextlib.contextmanager
def flowing(linked: Session) -> Iterator[Flows]:
    """Bulk and a trickle in both directions, checked at the end; the Service leads to the child still."""
    flows = Flows(linked)
    for direction in linked.ends:
        for name, speed in SPEEDS.items():
            flows.open(f"{direction}-{name}", *speed)
    flows.wait_move()
    try:
        yield flows
        flows.wait_move()
        flows.finish()
    finally:
        for name in tuple(flows.names):  # the test has failed: the next one begins without them
            with contextlib.suppress(Exception):
                linked.ends[direction_of(name)][0].ask("finish", 10, flow=name, at_most=1)
    assert json.loads(linked.namespace.ask(f"http://{linked.workload}/"))["who"] == "laptop"
