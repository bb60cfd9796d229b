"""The pods of the figures: one with a sidecar, the load's server and an sshd, and one for a client."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import psutil

from integration.probe.manifests import BASE_IMAGE, RESTRICTED, config_map
from integration.support.namespaces import Namespace
from integration.support.waiting import wait_until
from telepresence_py.model.image import DEFAULT_IMAGE
from telepresence_py.tunnel.keys import SessionKey
from telepresence_sidecar.contract import FINGERPRINT_LOG_PREFIX, SidecarConfig

LOAD = Path(__file__).parent / "load"
ECHO, SINK, SOURCE, HTTP = PORTS = (7001, 7002, 7003, 7004)
TUNNEL_PORT, HEALTH_PORT = 7601, 7602
POD = "tunnel"
SSH_CONTAINER = "ssh"
CLOCK = (
    'import os; print(os.sysconf("SC_CLK_TCK"), open("/proc/1/stat").read(), '
    'open("/proc/1/smaps_rollup").read())'
)
WAITS = "import signal; signal.signal(signal.SIGTERM, lambda *_: exit()); signal.pause()"
Object = dict[str, Any]


@dataclass(frozen=True)
class Used:
    """By one process or several: seconds of processor since they began, resident megabytes (10^6)."""

    seconds: float
    resident: float

    def __add__(self, other: Used) -> Used:
        return Used(self.seconds + other.seconds, self.resident + other.resident)


REQUESTS = {"cpu": "500m", "memory": "64Mi"}
"""Of who serves and of the sidecar: for next to nothing a busy node would give them hardly any time."""

NOTHING = Used(0.0, 0.0)


@dataclass(frozen=True)
class TunnelPod:
    """A pod like that of a swap, of nobody: `key` opens its tunnel, `word` is the sidecar's argument."""

    namespace: Namespace
    key: SessionKey
    address: str
    fingerprint: str
    word: str

    def used(self) -> Used:
        """By the sidecar; the pod is asked when it does not run on this machine, which takes some time."""
        sidecar = process_with(self.word)
        return used_by(sidecar) if sidecar else used_by_first_process(self.namespace, POD)


@lru_cache(maxsize=64)
def process_with(word: str) -> psutil.Process | None:
    """The process of this machine, in whatever container, that has this argument."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if word in process.cmdline():
                return process
    return None


def used_by(process: psutil.Process) -> Used:
    times = process.cpu_times()
    return Used(times.user + times.system, process.memory_info().rss / 1e6)


def used_by_first_process(namespace: Namespace, pod: str) -> Used:
    command = ("/telepresence-py/bin/python", "-I", "-c", CLOCK)
    text = namespace.kubectl("exec", pod, "-c", "main", "--", *command)
    ticks, _, rest = text.partition(" ")
    fields = rest.rpartition(")")[2].split()
    resident = next(line.split()[1] for line in text.splitlines() if line.startswith("Rss:"))
    return Used((int(fields[11]) + int(fields[12])) / int(ticks), int(resident) * 1024 / 1e6)


def load_config_map() -> Object:
    return config_map("load", {name: (LOAD / name).read_text() for name in ("server.py", "client.py")})


def load_server(name: str = "load") -> Object:
    """A container that serves on PORTS."""
    return {
        "name": name,
        "image": BASE_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "/load/server.py", str(PORTS[0])],
        "resources": {"requests": REQUESTS},
        "volumeMounts": [{"name": "load", "mountPath": "/load"}],
        "securityContext": RESTRICTED,
    }


def ssh_container(*mounts: Object) -> Object:
    """One that only waits until an sshd is put into it; of `nobody`, as whom a client logs in."""
    return {
        "name": SSH_CONTAINER,
        "image": BASE_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", WAITS],
        "volumeMounts": list(mounts),
        "securityContext": RESTRICTED | {"runAsUser": 65534},
    }


def make_tunnel_pod(namespace: Namespace) -> TunnelPod:
    """Made, and running; it ends with the namespace."""
    key = SessionKey.generate()
    config = SidecarConfig("bench", "bench", key.public_line, (8080,), TUNNEL_PORT, HEALTH_PORT, grace=3600.0)
    word = config.to_argument()
    sidecar = {
        "name": "main",
        "image": DEFAULT_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "args": [word],
        "resources": {"requests": REQUESTS},
        "securityContext": RESTRICTED,
    }
    spec = {
        "containers": [sidecar, load_server(), ssh_container()],
        "volumes": [{"name": "load", "configMap": {"name": "load"}}],
        "terminationGracePeriodSeconds": 1,
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": POD, "labels": {"app": POD}}, "spec": spec}
    namespace.apply(load_config_map(), pod)
    namespace.kubectl("wait", "--for=condition=Ready", f"pod/{POD}", "--timeout=60s", seconds=70)

    def fingerprint() -> str:
        lines = namespace.kubectl("logs", POD, "-c", "main").splitlines()
        told = (
            line.removeprefix(FINGERPRINT_LOG_PREFIX)
            for line in lines
            if line.startswith(FINGERPRINT_LOG_PREFIX)
        )
        return next(told, "").strip()

    found = wait_until(fingerprint, 30, "the sidecar tells its host key")
    wait_until(
        lambda: "serving" in namespace.kubectl("logs", POD, "-c", "load"), 30, "the load's server serves"
    )
    address = namespace.get("pod", POD)["status"]["podIP"]
    return TunnelPod(namespace, key, address, found, word)


def make_client_pod(pod: TunnelPod, name: str, *, on_node: bool) -> str:
    """The load's client, in the network of that pod's node, or in one of its own; its name."""
    node = pod.namespace.get("pod", POD)["spec"]["nodeName"]
    waiting = {
        "name": "client",
        "image": BASE_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", WAITS],
        "resources": {"requests": REQUESTS},
        "volumeMounts": [{"name": "load", "mountPath": "/load"}],
    }
    spec = {
        "containers": [waiting],
        **({"hostNetwork": True, "nodeName": node} if on_node else {}),
        "volumes": [{"name": "load", "configMap": {"name": "load"}}],
        "terminationGracePeriodSeconds": 1,
    }
    pod.namespace.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
    pod.namespace.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s", seconds=70)
    return name
