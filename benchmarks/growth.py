"""How a session grows: with the connections that are open, with replicas, with sessions side by side."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from functools import partial

from integration.probe.manifests import Workload, probe_config_map
from integration.probe.swapping import python_probe
from integration.probe.town import settle
from integration.support.aftermath import sidecar_pods
from integration.support.product import Product, Running, product_for

from .figures import Figure, Limit, percentile
from .pods import ECHO, SINK, SOURCE
from .resident import Resident, resident_memory
from .sessions import Session, session
from .stage import Stage, attempted

CONNECTIONS, QUICK_CONNECTIONS, MOST = (10, 100, 1000), (1000,), 5000
MANY = (1, 3, 10)
SESSIONS = (1, 5, 10)
BULK, QUICK_BULK = 512 << 20, 64 << 20
LOOK_SECONDS = 0.1
MEMORY, START = "Memory of a session", "Replicas and sessions"


def memory_figures(stage: Stage) -> list[Figure]:
    """While its command holds connections to a pod, and while it moves bytes; one session for all."""
    with session(stage, stage.kubeconfig) as held:
        found = [_resident("idle", held.resident(), Limit(most=120))]
        for number in QUICK_CONNECTIONS if stage.is_quick else CONNECTIONS:
            found += attempted(
                f"{number} connections", partial(_with_connections, stage, held, number), MEMORY
            )
        for do in ("up", "down"):
            found += attempted(f"memory, bulk {do}", partial(_with_bulk, stage, held, do), MEMORY)
        if not stage.is_quick:  # at last: what has grown for it may not shrink again
            found += attempted(f"{MOST} connections", partial(_with_connections, stage, held, MOST), MEMORY)
    return found


def _with_connections(stage: Stage, held: Session, number: int) -> list[Figure]:
    way = held.out(stage.pod)
    before, began = way.used().seconds, time.monotonic()
    way.ask("hold", ECHO, count=number)
    taken, cost = time.monotonic() - began, way.used().seconds - before
    limit = Limit(most=200) if number == 1000 else Limit()
    resident = held.resident()
    answer = way.ask("echo", ECHO, seconds=1.0)
    way.ask("hold", ECHO, count=0)
    echoes = (1000 * percentile(answer["round_trips"], 0.5),)
    return [
        _resident(f"{number} connections", resident, limit),
        Figure(f"to open {number} connections", "s", (taken,), group=MEMORY),
        Figure(f"to open {number} connections: CPU", "s", (cost,), group=MEMORY),
        Figure(f"echo beside {number} idle connections, p50", "ms", echoes, group=MEMORY),
    ]


def _with_bulk(stage: Stage, held: Session, do: str) -> list[Figure]:
    way, size = held.out(stage.pod), QUICK_BULK if stage.is_quick else BULK
    errors: list[Exception] = []

    def move() -> None:
        try:
            way.ask(do, SINK if do == "up" else SOURCE, size=size, streams=8)
        except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
            errors.append(error)

    moving = threading.Thread(target=move)
    moving.start()
    most = 0.0
    while moving.is_alive():
        most = max(most, held.used().resident)
        moving.join(LOOK_SECONDS)
    if errors:
        raise errors[0]
    return [
        Figure(f"resident memory, both ends: bulk {do}, 8 streams, its peak", "MB", (most,), group=MEMORY)
    ]


def _resident(when: str, found: Resident, limit: Limit) -> Figure:
    return Figure(f"resident memory, both ends: {when}", "MB", (found.resident,), limit=limit, group=MEMORY)


def growth_figures(stage: Stage) -> list[Figure]:
    """Seconds until all is in place, and memory then."""
    found = []
    for number in MANY:
        name = f"{number} replica{'s' if number > 1 else ''}"
        found += attempted(name, partial(_started, stage, name, (number,)), START)
    for number in SESSIONS:
        name = f"{number} session{'s' if number > 1 else ''} at once"
        found += attempted(name, partial(_started, stage, name, (1,) * number), START)
    return found


def _started(stage: Stage, name: str, replicas: tuple[int, ...]) -> list[Figure]:
    """A session for each number of replicas, all at once."""
    workloads = [Workload(f"many-{index}", replicas=number) for index, number in enumerate(replicas)]
    settle(stage.namespace, probe_config_map(), *(each for one in workloads for each in one.objects()))
    names = [workload.name for workload in workloads]
    try:
        with product_for(stage.user, stage.kubeconfig) as product:
            began = time.monotonic()
            with _swaps(product, names) as swaps:
                for swap in swaps:
                    swap.wait_in_place(180)
                taken = time.monotonic() - began
                every = [
                    resident_memory(swap, sidecar_pods(stage.namespace, workload), stage.namespace)
                    for swap, workload in zip(swaps, names, strict=True)
                ]
    finally:
        stage.namespace.kubectl("delete", "deployment,service", *names, "--wait=true", "--ignore-not-found")
    return [
        Figure(f"{name}: in place", "s", (taken,), group=START),
        Figure(f"{name}: resident here", "MB", (sum(each.laptop_resident for each in every),), group=START),
        Figure(
            f"{name}: of it shared pages once",
            "MB",
            (sum(e.laptop_proportional for e in every),),
            group=START,
        ),
        Figure(
            f"{name}: resident in the pods", "MB", (sum(each.pod_resident for each in every),), group=START
        ),
    ]


@contextlib.contextmanager
def _swaps(product: Product, workloads: list[str]) -> Iterator[list[Running]]:
    """Begun at once; ended, and restored, after the block."""
    child = python_probe(product, "http:8080")
    swaps = [product.start("swap", name, "--", *child, pipe_stdout=True) for name in workloads]
    try:
        yield swaps
    finally:
        for swap in swaps:
            assert swap.process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                swap.process.stdin.close()
        for swap in swaps:
            swap.wait(120)
