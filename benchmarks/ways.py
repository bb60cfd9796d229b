"""The ways from here to the ports of one pod: the product's tunnel, its rivals, and none at all."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from integration.support.cluster import ROOT
from integration.support.link import Link
from integration.support.namespaces import Namespace
from integration.support.waiting import wait_until

from .asking import Answer, Client, Failed, client
from .driver import Forwarding
from .loss import losing
from .pods import LOAD, NOTHING, POD, PORTS, TUNNEL_PORT, TunnelPod, Used, make_client_pod, used_by

OURS, SESSION = "ours", "session"
KUBECTL, OPENSSH, DIRECT, LINK, BESIDE = "kubectl", "openssh", "direct", "link", "beside"
SSHFS = "sshfs"
FORWARDING = re.compile(r"^Forwarding from 127\.0\.0\.1:(\d+) -> (\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Way:
    """`client` finds the pod's ports at `host` by `ports`. `used` tells what the way took at both ends."""

    name: str
    client: Client
    host: str
    ports: Mapping[int, int]
    processes: tuple[subprocess.Popen[bytes], ...] = ()
    pod_used: Callable[[], Used] = field(default=lambda: NOTHING)

    def ask(self, do: str, port: int, **order: Any) -> Answer:
        """`port` is the pod's; Failed as Client.ask."""
        if not self.lives:
            raise Failed(f"{self.name} has ended")
        return self.client.ask(do, host=self.host, port=self.ports[port], **order)

    @property
    def lives(self) -> bool:
        return self.client.lives and all(process.poll() is None for process in self.processes)

    def used(self) -> Used:
        return sum((used_by(psutil.Process(each.pid)) for each in self.processes), self.pod_used())


@contextlib.contextmanager
def direct(pod: TunnelPod) -> Iterator[Way]:
    """From the network of the pod's node to the pod: a client in a pod without a network of its own."""
    with client_in_pod(pod, "on-node", on_node=True) as asking:
        yield Way(DIRECT, asking, pod.address, {port: port for port in PORTS})


@contextlib.contextmanager
def client_in_pod(pod: TunnelPod, name: str, *, on_node: bool) -> Iterator[Client]:
    make_client_pod(pod, name, on_node=on_node)
    command = pod.namespace.cluster.kubectl_command(
        "-n", pod.namespace.name, "exec", "-i", name, "--", "python3", "/load/client.py"
    )
    with client(command) as asking:
        yield asking


@contextlib.contextmanager
def link_alone(round_trip: float, loss: float) -> Iterator[Way]:
    """A link of that delay in milliseconds and that loss in percent, before a server on this machine."""
    with contextlib.ExitStack() as stack:
        found = {}
        for port, here in stack.enter_context(server_here()).items():
            link = stack.enter_context(Link(("127.0.0.1", here)))
            link.delay(round_trip)
            found[port] = link.port
        stack.enter_context(losing(loss, list(found.values())))
        yield Way(LINK, stack.enter_context(client()), "127.0.0.1", found)


@contextlib.contextmanager
def server_here() -> Iterator[dict[int, int]]:
    """A server on this machine's loopback: its port for each of the pod's."""
    first = free_ports(len(PORTS))
    command = [sys.executable, str(LOAD / "server.py"), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            server.stdout.readline()
            yield {port: first + number for number, port in enumerate(PORTS)}
        finally:
            end(server)


@contextlib.contextmanager
def beside(pod: TunnelPod) -> Iterator[Way]:
    """From another pod to the pod."""
    with client_in_pod(pod, "asker", on_node=False) as asker:
        yield Way(BESIDE, asker, pod.address, {port: port for port in PORTS})


@contextlib.contextmanager
def tunnel(pod: TunnelPod, kubeconfig: str) -> Iterator[Way]:
    """The product's tunnel by a driver of its own."""
    told = Forwarding(
        kubeconfig=kubeconfig,
        namespace=pod.namespace.name,
        pod=POD,
        tunnel_port=TUNNEL_PORT,
        fingerprint=pod.fingerprint,
        private_key=pod.key.private_pem().decode(),
        ports=PORTS,
    )
    with tempfile.TemporaryFile() as log:
        driver = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.driver"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd=ROOT,
        )  # fmt: skip
        assert driver.stdin is not None
        assert driver.stdout is not None
        try:
            driver.stdin.write(json.dumps(asdict(told)).encode() + b"\n")
            driver.stdin.flush()
            said = driver.stdout.readline()
            if not said:
                log.seek(0)
                raise Failed(f"the tunnel did not open: {log.read().decode().strip().rpartition(chr(10))[2]}")
            ports = {int(port): int(here) for port, here in json.loads(said)["ports"].items()}
            with client() as asking:
                yield Way(OURS, asking, "127.0.0.1", ports, (driver,), pod.used)
        finally:
            driver.stdin.close()
            end(driver)
            driver.stdout.close()


@contextlib.contextmanager
def kubectl(pod: TunnelPod, kubeconfig: str) -> Iterator[Way]:
    """`kubectl port-forward`; what it takes in the pod's node is the kubelet's, and not told."""
    with port_forward(pod.namespace, POD, kubeconfig, PORTS) as (process, ports), client() as asking:
        yield Way(KUBECTL, asking, "127.0.0.1", ports, (process,))


@contextlib.contextmanager
def port_forward(
    namespace: Namespace, pod: str, kubeconfig: str, wanted: tuple[int, ...]
) -> Iterator[tuple[subprocess.Popen[bytes], dict[int, int]]]:
    """The process, and the laptop's port for each of the pod's."""
    program = namespace.cluster.kubectl_program
    words = ("--kubeconfig", kubeconfig, "-n", namespace.name, "port-forward", "--address=127.0.0.1")
    with tempfile.TemporaryDirectory(prefix="telepresence-py-bench-") as directory:
        log = Path(directory) / "log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [program, *words, f"pod/{pod}", *(f":{port}" for port in wanted)],
                stdout=stream,
                stderr=stream,
            )

        def found() -> dict[int, int] | None:
            assert process.poll() is None, log.read_text()
            ports = {int(there): int(here) for here, there in FORWARDING.findall(log.read_text())}
            return ports if len(ports) == len(wanted) else None

        try:
            yield process, wait_until(found, 30, "kubectl forwards", every=0.02, seen=log.read_text)
        finally:
            end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_ports(count: int) -> int:
    """The first of so many neighbours that nobody uses."""
    while True:
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                for number in range(1, count):
                    stack.enter_context(socket.create_server(("127.0.0.1", first + number)))
                return int(first)
