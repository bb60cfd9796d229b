"""`python -m benchmarks`: run the rounds, print the tables; `scripts/bench` calls it."""

from __future__ import annotations

import argparse
import json
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from integration.support.cluster import ROOT, Cluster, named_cluster, running_own_cluster
from integration.support.namespaces import make_namespace, remove_namespace
from integration.support.plain_user import plain_user
from telepresence_py import __version__

from .figures import Figure, tables
from .files import files_figures
from .growth import growth_figures, memory_figures
from .naming import naming_figures
from .plot import svg
from .stage import Stage, attempted, say
from .starting import server_version, start_figures
from .trials import RIVALS
from .tunnels import ALONE, tunnel_figures
from .ways import DIRECT, KUBECTL, OPENSSH

QUICK_SECONDS = 280.0
"""Then no more round begins, so that all ends within five minutes."""


def main(arguments: Sequence[str] | None = None) -> None:
    began = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is ended, as by ^C
    options = _options(arguments)
    cluster = named_cluster(options.context) if options.context else running_own_cluster()
    namespace = make_namespace(cluster, "bench")
    figures: list[Figure] = []
    try:
        about = _about(cluster, server_version(namespace))
        say(", ".join(f"{key} {value}" for key, value in about.items()))
        stage = Stage(
            namespace,
            plain_user(),
            namespace.developer_kubeconfig(),
            options.rivals,
            options.figures,
            options.quick,
            options.loss,
            began + QUICK_SECONDS if options.quick else float("inf"),
            options.connect,
        )
        for name, measure in _parts(stage, options).items():
            figures += attempted(name, measure)
    except KeyboardInterrupt:
        say("stopped; what was measured until then:")
    finally:
        remove_namespace(namespace)
    print(tables(figures), flush=True)
    say(f"done after {time.monotonic() - began:.0f} s")
    if options.json:
        content = {"about": about, "figures": [figure.as_json() for figure in figures]}
        Path(options.json).write_text(json.dumps(content, indent=2) + "\n")
    if options.plot:
        alone = [figure for figure in figures if figure.group.startswith(ALONE)]
        Path(options.plot).write_text(svg(alone, RIVALS[KUBECTL]))


def _parts(stage: Stage, options: argparse.Namespace) -> dict[str, Callable[[], list[Figure]]]:
    """By the names of --figures, in their order."""
    every: dict[str, Callable[[], list[Figure]]] = {
        "start": partial(start_figures, stage, options.rounds or (2 if options.quick else 5)),
        "memory": partial(memory_figures, stage),
        "tunnel": partial(tunnel_figures, stage, options.rtt, options.rounds or 3),  # and "session"
        "growth": partial(growth_figures, stage),
        "names": partial(naming_figures, stage, options.rtt, options.rounds or 5),
        "files": partial(files_figures, stage, options.rtt, options.rounds or 3),
    }
    wanted = {"tunnel" if name == "session" else name for name in options.figures}
    return {name: part for name, part in every.items() if name in wanted}


def _about(cluster: Cluster, server: str) -> dict[str, Any]:
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
        "kubectl": json.loads(cluster.kubectl("version", "--client", "-o", "json"))["clientVersion"][
            "gitVersion"
        ],
        "Linux": platform.release(),
        "Python": platform.python_version(),
        "processor": f"{model} x {len(_lines('/proc/stat', 'cpu')) - 1}",
        "load before": Path("/proc/loadavg").read_text().split()[0],
    }


def _lines(path: str, beginning: str = "") -> list[str]:
    return [line for line in Path(path).read_text().splitlines() if line.startswith(beginning)]


PARTS = ("start", "memory", "tunnel", "session", "growth", "names", "files")
QUICK_PARTS = PARTS[:3]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=sys.modules["benchmarks"].__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="all within five minutes: fewer, shorter rounds, one rival"
    )
    parser.add_argument("--rtt", type=_numbers, help="round trips of the link in milliseconds: 0,20,50")
    parser.add_argument("--rivals", type=_words, help=f"of {KUBECTL},{OPENSSH},{DIRECT}")
    parser.add_argument("--figures", type=_words, help=f"of {','.join(PARTS)}")
    parser.add_argument(
        "--loss", type=float, default=0.0, metavar="PERCENT", help="of the link's packets; needs root"
    )
    parser.add_argument("--rounds", type=int, help="how many")
    parser.add_argument(
        "--connect", choices=("truthful", "fast"), default="truthful", help="of a session's command"
    )
    parser.add_argument("--json", metavar="FILE", help="write samples and figures there too")
    parser.add_argument("--plot", metavar="FILE", help="draw the tunnel's ratios to kubectl's there, as SVG")
    parser.add_argument("--context", metavar="NAME", help="a cluster of yours instead of the project's own")
    options = parser.parse_args(arguments)
    options.figures = options.figures or (QUICK_PARTS if options.quick else PARTS)
    options.rtt = options.rtt or ([0.0, 50.0] if options.quick else [0.0, 20.0, 50.0])
    options.rivals = options.rivals or ((KUBECTL,) if options.quick else (KUBECTL, OPENSSH, DIRECT))
    return options


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.split(",") if word)


def _numbers(text: str) -> list[float]:
    return [float(word) for word in _words(text)]


if __name__ == "__main__":
    main()
