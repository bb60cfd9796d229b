"""The tunnel alone beside its rivals, all to the same pod, round by round, by links of several lengths."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from integration.support.link import Link
from integration.support.namespaces import write_kubeconfig

from . import ways
from .asking import Failed
from .figures import Figure
from .pods import ECHO, TunnelPod, make_tunnel_pod
from .stage import TROUBLE, Stage, attempted, say
from .trials import Samples, Scale, Trial, limits, trials
from .ways import DIRECT, KUBECTL, LINK, OURS, Way

QUICK, FULL = Scale(64 << 20, 1.2), Scale(192 << 20, 3.0)
SETTLING_SECONDS = 0.05


def tunnel_figures(stage: Stage, round_trips: list[float], rounds: int) -> list[Figure]:
    """A group for each round trip, in milliseconds."""
    try:
        pod = make_tunnel_pod(stage.namespace)
    except TROUBLE as error:
        return [Figure("the tunnel's pod", "", failed=str(error))]
    found = []
    for round_trip in round_trips:
        group = f"The tunnel alone, {round_trip:g} ms round trip"
        found += attempted(group, partial(_by_link, stage, pod, round_trip, rounds), group)
    return found


def _by_link(stage: Stage, pod: TunnelPod, round_trip: float, rounds: int) -> list[Figure]:
    samples = Samples()
    scale = QUICK if stage.is_quick else FULL
    with contextlib.ExitStack() as stack:
        kubeconfig = stack.enter_context(kubeconfig_by_link(stage, round_trip))
        doors = [
            stack.enter_context(Door(name, opened))
            for name, opened in _openers(stage, pod, round_trip, kubeconfig)
        ]

        def once(number: int) -> None:
            for trial in trials(scale):
                _try(trial, doors[number % len(doors) :] + doors[: number % len(doors)], samples, stage)
            say(f"{round_trip:g} ms, round {number}")

        stage.rounds(rounds, once, f"{round_trip:g} ms")
    return samples.figures(f"The tunnel alone, {round_trip:g} ms round trip", limits(round_trip))


@contextlib.contextmanager
def kubeconfig_by_link(stage: Stage, round_trip: float) -> Iterator[str]:
    """Path of a developer's kubeconfig; without a round trip the server itself is asked, by no link."""
    if round_trip:
        with Link.before_server(stage.kubeconfig) as link:
            link.delay(round_trip)
            yield link.kubeconfig(stage.kubeconfig)
        return
    with tempfile.TemporaryDirectory(prefix="telepresence-py-bench-") as directory:
        path = Path(directory) / "kubeconfig"
        write_kubeconfig(path, stage.kubeconfig)
        yield str(path)


def _openers(
    stage: Stage, pod: TunnelPod, round_trip: float, kubeconfig: str
) -> list[tuple[str, Callable[[], AbstractContextManager[Way]]]]:
    every: dict[str, Callable[[], AbstractContextManager[Way]]] = {
        OURS: partial(ways.tunnel, pod, kubeconfig),
        KUBECTL: partial(ways.kubectl, pod, kubeconfig),
        DIRECT: partial(ways.direct, pod),
    }
    found = [(name, opened) for name, opened in every.items() if name == OURS or name in stage.rivals]
    if round_trip:
        found = [(name, opened) for name, opened in found if name != DIRECT]
        found.append((LINK, partial(ways.link_alone, round_trip)))
    return found


class Door:
    """A way that is opened anew when it has ended; `with` closes it."""

    def __init__(self, name: str, opened: Callable[[], AbstractContextManager[Way]]) -> None:
        self.name = name
        self._opened = opened
        self._stack = contextlib.ExitStack()
        self._way: Way | None = None

    def __enter__(self) -> Door:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def way(self) -> Way:
        """Failed when it cannot be opened."""
        if self._way is not None and not self._way.lives:
            say(f"{self.name} has ended, and is opened anew")
            self._stack.close()
            self._way = None
        if self._way is None:
            try:
                self._way = self._stack.enter_context(self._opened())
            except TROUBLE as error:
                raise Failed(f"{self.name} could not be opened: {error}") from error
        return self._way


def _try(trial: Trial, doors: list[Door], samples: Samples, stage: Stage) -> None:
    for door in doors:
        if door.name == LINK and stage.is_quick and trial.metrics[0].name != "echo, p50":
            continue
        try:
            way = door.way()
            way.ask("echo", ECHO, seconds=SETTLING_SECONDS)  # what the last one left on the way has gone then
            measured = trial.run(way)
        except TROUBLE as error:
            for metric in trial.metrics:
                samples.add(metric, door.name, str(error))
        else:
            for metric, value in measured.items():
                samples.add(metric, door.name, value)
