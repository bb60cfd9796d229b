"""`python -m benchmarks`: run the rounds, print the table; `scripts/bench` calls it."""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from integration.support.cluster import ROOT, Cluster, named_cluster, running_own_cluster
from integration.support.namespaces import make_namespace, remove_namespace
from integration.support.plain_user import plain_user
from integration.support.product import Product, product_for
from telepresence_py import __version__
from telepresence_py.model.image import DEFAULT_IMAGE

from .figures import Figure, table
from .starting import Start, deploy, run_rival, server_version, swap_once

ROUNDS, QUICK_ROUNDS = 7, 3
HELP_ROUNDS = 9


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    cluster = named_cluster(options.context) if options.context else running_own_cluster()
    namespace = make_namespace(cluster, "bench")
    try:
        with product_for(plain_user(), namespace.developer_kubeconfig()) as product:
            deploy(namespace)
            about = _about(server_version(namespace))
            _say(", ".join(f"{key} {value}" for key, value in about.items()))
            rounds: list[tuple[Start, float]] = []
            for number in range(1, options.rounds + 1):
                rival = run_rival(namespace, DEFAULT_IMAGE)
                start = swap_once(namespace, product)
                rounds.append((start, rival))
                _say(f"round {number}: in place {start.in_place:.2f} s, kubectl run {rival:.2f} s")
            figures = [*_of_rounds(rounds), _help(product, cluster)]
    finally:
        remove_namespace(namespace)
    print(table(figures), flush=True)
    if options.json:
        content = {"about": about, "figures": [figure.as_json() for figure in figures]}
        Path(options.json).write_text(json.dumps(content, indent=2) + "\n")


def _of_rounds(rounds: Sequence[tuple[Start, float]]) -> list[Figure]:
    starts, rivals = [start for start, _ in rounds], tuple(rival for _, rival in rounds)
    rival = "kubectl run to Ready"
    return [
        Figure("swap to in place", "s", tuple(s.in_place for s in starts), rival, rivals, 1.5, 4.0),
        Figure("swap to first answer", "s", tuple(s.first_answer for s in starts), rival, rivals),
        Figure("child's end to restored", "s", tuple(s.restored for s in starts), rival, rivals),
        Figure("child's end to the original's answer", "s", tuple(s.original_answer for s in starts)),
        Figure("resident memory, both ends", "MB", tuple(s.resident.resident for s in starts), most=120.0),
        Figure("the same, shared pages once", "MB", tuple(s.resident.proportional for s in starts)),
        Figure("of it the sidecar's", "MB", tuple(s.resident.pod_resident for s in starts)),
    ]


def _help(product: Product, cluster: Cluster) -> Figure:
    ours, theirs = [], []
    for _ in range(HELP_ROUNDS):
        theirs.append(_seconds([cluster.kubectl_program, "--help"]))
        ours.append(_seconds([product.program, "--help"]))
    return Figure("--help", "s", tuple(ours), "kubectl --help", tuple(theirs))


def _seconds(command: Sequence[str]) -> float:
    began = time.monotonic()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - began


def _about(server: str) -> dict[str, Any]:
    """What the figures depend on."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    return {
        "version": __version__,
        "commit": described.stdout.strip() or "unknown",
        "Kubernetes": server,
        "Linux": platform.release(),
        "Python": platform.python_version(),
        "processor": f"{model} x {len(_lines('/proc/stat', 'cpu')) - 1}",
    }


def _lines(path: str, beginning: str = "") -> list[str]:
    return [line for line in Path(path).read_text().splitlines() if line.startswith(beginning)]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=sys.modules["benchmarks"].__doc__)
    parser.add_argument("--rounds", type=int, help=f"how many, {ROUNDS} unless told")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds")
    parser.add_argument("--json", metavar="FILE", help="write samples and figures there too")
    parser.add_argument("--context", metavar="NAME", help="a cluster of yours instead of the project's own")
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    return options


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
