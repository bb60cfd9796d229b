"""A child beside the pod that it stands in for: what the original saw, and what the child sees."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from integration.probe.asking import Probe
from integration.probe.swapping import Swap, swapped
from integration.probe.town import pod_probe_command
from integration.support.aftermath import sidecar_pods
from integration.support.namespaces import Namespace
from integration.support.product import Product


@dataclass(frozen=True)
class Inside:
    """A swap of `target` that is in place. `pod` is the sidecar's pod; `original` what the original saw."""

    swap: Swap
    pod: dict[str, Any]
    original: dict[str, Any]
    town: Namespace

    @property
    def child(self) -> Probe:
        return self.swap.probe

    @property
    def pod_name(self) -> str:
        return str(self.pod["metadata"]["name"])

    @property
    def pod_addresses(self) -> list[str]:
        return sorted(address["ip"] for address in self.pod["status"]["podIPs"])


@contextlib.contextmanager
def pod_probe(namespace: Namespace, pod: str) -> Iterator[Probe]:
    """A probe inside the container of a pod that runs the probe."""
    command = pod_probe_command(namespace, pod)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as carrier:
        yield Probe(carrier)


@contextlib.contextmanager
def inside_target(
    town: Namespace, product: Product, child: Sequence[str], questions: Sequence[dict[str, Any]]
) -> Iterator[Inside]:
    """Ask the original of `target`, then swap it with `child`. Questions are `ask` arguments; the answers
    stand in `original` under the questions' `key`, or their `ask`."""
    original = {}
    with pod_probe(town, "deployment/target") as pod:
        for question in questions:
            words = dict(question)
            key = words.pop("key", words["ask"])
            original[key] = pod.ask(words.pop("ask"), **words)
    with swapped(product, "deployment/target", child=child) as swap:
        pods = sidecar_pods(town, "target")
        assert len(pods) == 1, f"one replica has one sidecar pod, not {len(pods)}"
        yield Inside(swap, pods[0], original, town)
