"""A session held open, whose command asks servers in the cluster and serves clients there: load programs."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psutil

from integration.probe.manifests import Workload, probe_config_map
from integration.probe.town import settle
from integration.support.aftermath import sidecar_pods
from integration.support.namespaces import Namespace
from integration.support.product import Product, Running, product_for

from .asking import Client, Failed
from .pods import LOAD, PORTS, TunnelPod, Used, process_with, used_by
from .resident import Resident, processes_of_session, resident_memory
from .stage import Stage, say
from .ways import SESSION, Way

SERVED = 8080
"""The first of the ports on which the command serves, one for each of PORTS."""
HELD = Workload(
    "held",
    listen=("http:8080",),
    ports=tuple({"containerPort": SERVED + number} for number in range(len(PORTS))),
)
SHELL = '"$0" "$1/server.py" "$2" >&2 & exec "$0" "$1/client.py"'


@dataclass(frozen=True)
class Session:
    """A swap in place. `client` is in its command; `address` is its pod's."""

    namespace: Namespace
    running: Running
    client: Client
    pod: dict[str, Any]

    @property
    def address(self) -> str:
        return str(self.pod["status"]["podIP"])

    def out(self, pod: TunnelPod) -> Way:
        """From the command to that pod."""
        ports = {port: port for port in PORTS}
        return Way(SESSION, self.client, pod.address, ports, (self.running.process,), self._used)

    def into(self, asker: Client) -> Way:
        """From a client in the cluster to the command's server."""
        ports = {port: SERVED + number for number, port in enumerate(PORTS)}
        return Way(SESSION, asker, self.address, ports, (self.running.process,), self._used)

    def resident(self) -> Resident:
        return resident_memory(self.running, [self.pod], self.namespace)

    def used(self) -> Used:
        return used_by(psutil.Process(self.running.pid)) + self._used()

    def _used(self) -> Used:
        """But for the CLI, which the Way counts itself."""
        found = [each for each in processes_of_session(self.running.pid) if each.pid != self.running.pid]
        (word,) = (each["args"][0] for each in self.pod["spec"]["containers"] if each["name"] == "main")
        sidecar = process_with(word)
        every: list[psutil.Process] = [*found, *([sidecar] if sidecar else [])]
        return sum(map(used_by, every), Used(0.0, 0.0))


@contextlib.contextmanager
def session(
    stage: Stage, kubeconfig: dict[str, Any], workload: Workload = HELD, options: tuple[str, ...] = ()
) -> Iterator[Session]:
    """Swapped by that kubeconfig, with these options; ended, and restored, after the block."""
    settle(stage.namespace, probe_config_map(), *workload.objects())
    with product_for(stage.user, kubeconfig) as product:
        options = ("--connect", stage.connect, *options)
        running = product.start("swap", workload.name, *options, "--", *_command(product), pipe_stdout=True)
        try:
            child = Client(running.process)
        except Failed as error:
            said = running.err.strip().rpartition("\n")[2]
            raise Failed(f"the session did not come to its command: {said or error}") from error
        running.wait_in_place(90)
        (pod,) = sidecar_pods(stage.namespace, workload.name)
        try:
            yield Session(stage.namespace, running, child, pod)
        finally:
            if running.process.poll() is not None:
                say(f"the session ended early with {running.process.returncode}: {running.err[-2000:]}")
            assert running.process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                running.process.stdin.close()
            running.wait()


def _command(product: Product) -> tuple[str, ...]:
    directory = product.directory / "load"
    directory.mkdir()
    product.user.give(directory)
    for name in ("server.py", "client.py"):
        shutil.copyfile(LOAD / name, directory / name)
        product.user.give(directory / name)
    return ("sh", "-c", SHELL, product.python, str(directory), str(SERVED))
