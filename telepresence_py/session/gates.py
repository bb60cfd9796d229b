"""Readiness gates: whoever waits for somebody outside to call a pod ready is told for whom."""

from __future__ import annotations

from collections.abc import Callable

import trio

from telepresence_py.cluster.calls import Json
from telepresence_py.model.events import Event, Level, Report
from telepresence_py.session.podboard import PodBoard
from telepresence_py.session.podstate import containers_ready, missing_gates

SOON_SECONDS = 3.0  # within which a controller of the cluster answers that has nothing to wait for itself


async def tell_gates(board: PodBoard, which: Callable[[Json], bool], report: Report) -> None:
    """Say once which gate keeps one of these pods from being Ready although its containers are."""

    def waiting() -> Json | None:
        for pod in board.pods.values():
            if which(pod) and containers_ready(pod) and missing_gates(pod):
                return pod
        return None

    while True:
        await board.wait(waiting)
        with trio.move_on_after(SOON_SECONDS):
            await board.wait(lambda: None if waiting() else True)
        pod = waiting()
        if pod is not None:
            text = (
                f"Waiting until somebody sets the readiness gate {missing_gates(pod)[0]} "
                f"of {pod['metadata']['name']}"
            )
            report(Event("waiting-for-gate", text, Level.NOTICE))
            return
