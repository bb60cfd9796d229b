"""Who is killed, each by SIGKILL or what comes nearest to it in a cluster: without a word to anybody."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from integration.faults.gate import Gate
from integration.support.aftermath import processes_of, sidecar_pods
from integration.support.namespaces import Namespace
from integration.support.product import Product, Running
from integration.support.waiting import wait_until

CHILD = "flow.py"


@dataclass(frozen=True)
class Scene:
    """Where it happens: a swap of `workload` that runs, through the gate, its session process `session`."""

    namespace: Namespace
    workload: str
    product: Product
    gate: Gate
    running: Running
    session: int

    def ours(self, program: str) -> int | None:
        """The pid of the product's process that runs this program."""
        for line in processes_of(self.product):
            pid, _, command = line.partition(": ")
            words = command.split()
            # the CLI has the child's command among its own words
            if program in command and self.product.program not in words:
                return int(pid)
        return None


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def kill_cli(scene: Scene) -> None:
    scene.running.send(signal.SIGKILL)


def kill_group(scene: Scene) -> None:
    """An IDE's Stop button."""
    scene.running.send_group(signal.SIGKILL)


def kill_session(scene: Scene) -> None:
    kill(scene.session)


def kill_agent(scene: Scene) -> None:
    kill(wait_until(lambda: scene.ours("isolation.agent"), 20, "there is a namespace agent"))


def kill_child(scene: Scene) -> None:
    kill(wait_until(lambda: scene.ours(CHILD), 20, "the child runs"))


def kill_laptop(scene: Scene) -> None:
    """All of ours at once, the session first; and nothing is said to the server, not even an end of file."""
    pids = [scene.session, *(int(line.partition(":")[0]) for line in processes_of(scene.product))]
    scene.gate.strand()
    for pid in pids:
        kill(pid)


def kill_sidecar(scene: Scene) -> None:
    """The first process of its container, on its node, which is on this machine."""
    pod = sidecar_pods(scene.namespace, scene.workload)[0]
    kill(wait_until(lambda: _main_process(pod["metadata"]["uid"]), 20, "the sidecar's process"))


def delete_pod(scene: Scene) -> None:
    """By force: no grace period, and the object is gone at once."""
    pod = sidecar_pods(scene.namespace, scene.workload)[0]["metadata"]["name"]
    scene.namespace.kubectl("delete", "pod", pod, "--force", "--grace-period=0", "--ignore-not-found")


def _main_process(pod_uid: str) -> int | None:
    """Whatever the cgroup driver, a pod's uid stands in the path of its cgroups."""
    marks = (pod_uid.encode(), pod_uid.replace("-", "_").encode())
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if not entry.name.isdigit() or b"telepresence_sidecar" not in (entry / "cmdline").read_bytes():
                continue
            cgroup = (entry / "cgroup").read_bytes()
            if any(mark in cgroup for mark in marks):
                return int(entry.name)
    return None


@dataclass(frozen=True)
class Victim:
    """`orphans`: nobody is left who would restore. `spares`: the session lives on, as does its child."""

    name: str
    kill: Callable[[Scene], None]
    orphans: bool = False
    spares: bool = False
    needs: str = ""
    """What must be there for it: a word of `points.Point.has`."""


VICTIMS = (
    Victim("cli", kill_cli),
    Victim("group", kill_group),
    Victim("session", kill_session, orphans=True),
    Victim("laptop", kill_laptop, orphans=True),
    Victim("agent", kill_agent, needs="agent"),
    Victim("child", kill_child, needs="child"),
    Victim("sidecar", kill_sidecar, spares=True, needs="sidecar"),
    Victim("pod", delete_pod, spares=True, needs="pod"),
)
