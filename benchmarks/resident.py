"""The memory of all that a session consists of, on the laptop and in the pod; the command itself aside."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from integration.support.namespaces import Namespace
from integration.support.product import Running

IN_POD = ("/telepresence-py/bin/python", "-I", "-c", "print(open('/proc/1/smaps_rollup').read())")


@dataclass(frozen=True)
class Resident:
    """Megabytes (10^6). `resident` is Rss, which counts what processes share once for each; `proportional` is
    Pss, which counts it once in all (proc_pid_smaps(5))."""

    laptop_resident: float
    laptop_proportional: float
    pod_resident: float
    pod_proportional: float

    @property
    def resident(self) -> float:
        return self.laptop_resident + self.pod_resident

    @property
    def proportional(self) -> float:
        return self.laptop_proportional + self.pod_proportional


def resident_memory(running: Running, pods: Iterable[dict[str, Any]], namespace: Namespace) -> Resident:
    """Of the CLI, its session process and their helpers, and of the sidecars; as root or the same user."""
    laptop = [
        _sizes(Path(f"/proc/{process.pid}/smaps_rollup").read_text())
        for process in processes_of_session(running.pid)
    ]
    sidecars = [_sizes(namespace.in_pod(pod["metadata"]["name"], *IN_POD)) for pod in pods]
    return Resident(
        *(sum(side[number] for side in sides) for sides in (laptop, sidecars) for number in (0, 1))
    )


def processes_of_session(cli: int) -> list[psutil.Process]:
    """The CLI and all below it, but for the command and what that started."""
    top = psutil.Process(cli)
    found = [top, *top.children(recursive=True)]
    return [each for each in found if each.pid == cli or _is_ours(each)]


def _is_ours(process: psutil.Process) -> bool:
    words = process.cmdline()
    return bool(words) and (words[-1] == "tp-witness" or any("telepresence_py." in word for word in words))


def _sizes(rollup: str) -> tuple[float, float]:
    values = {line.partition(":")[0]: line.split()[1] for line in rollup.splitlines() if line.endswith(" kB")}
    return int(values["Rss"]) * 1024 / 1e6, int(values["Pss"]) * 1024 / 1e6
