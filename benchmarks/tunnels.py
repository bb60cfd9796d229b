"""The tunnel alone beside its rivals, all to the same pod, round by round, by links of several lengths."""

from __future__ import annotations

import contextlib
import json
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
from .loss import losing
from .openssh import openssh, openssh_back
from .pods import ECHO
from .sessions import Session, session
from .stage import TROUBLE, Stage, attempted, say
from .trials import Samples, Scale, Trial, limits, session_limits, trials, trials_into
from .ways import BESIDE, DIRECT, KUBECTL, LINK, OPENSSH, OURS, SESSION, Way

QUICK, FULL = Scale(64 << 20, 1.2), Scale(128 << 20, 2.0)
SETTLING_SECONDS = 0.05
ALONE = "The tunnel alone"


def tunnel_figures(stage: Stage, round_trips: list[float], rounds: int) -> list[Figure]:
    """Groups for each round trip, in milliseconds."""
    found = []
    for number, round_trip in enumerate(round_trips):
        name, share = f"{round_trip:g} ms round trip", 1 / (len(round_trips) - number)
        found += attempted(name, partial(_by_link, stage, round_trip, rounds, share), name)
    return found


def _by_link(stage: Stage, round_trip: float, rounds: int, share: float) -> list[Figure]:
    out, into = Samples(), Samples()
    scale = QUICK if stage.is_quick else FULL
    with contextlib.ExitStack() as stack:
        kubeconfig = stack.enter_context(kubeconfig_by_link(stage, round_trip))
        doors = [Door(*opener) for opener in _openers(stage, round_trip, kubeconfig)]
        doors_into = []
        if "session" in stage.parts:
            held = _session(stack, stage, kubeconfig)
            doors.append(Door(SESSION, partial(_out, held, stage)))
            doors_into = [Door(*opener) for opener in _openers_into(stage, kubeconfig, held)]
        for door in (*doors, *doors_into):
            stack.enter_context(door)

        def once(number: int) -> None:
            for trial in trials(scale):
                _try(trial, _turned(doors, number), out, stage)
            for trial in trials_into(scale) if doors_into else ():
                _try(trial, _turned(doors_into, number), into, stage)
            say(f"{round_trip:g} ms, round {number}")

        stage.rounds(rounds, once, f"{round_trip:g} ms", share)
    link = f"{round_trip:g} ms round trip" + (f", {stage.loss:g} % lost" if stage.loss else "")
    found = []
    if "tunnel" in stage.parts:
        found += out.figures(f"{ALONE}, {link}", {} if stage.loss else limits(round_trip))
    if "session" in stage.parts:
        name = f"Out of a session's command, connect {stage.connect}, {link}"
        found += out.figures(name, {} if stage.loss else session_limits(round_trip, stage.connect), SESSION)
        found += into.figures(f"Into a session's command, {link}", way=SESSION)
    return found


def _turned(doors: list[Door], number: int) -> list[Door]:
    """Everybody is the first once."""
    first = number % len(doors)
    return doors[first:] + doors[:first]


def _session(stack: contextlib.ExitStack, stage: Stage, kubeconfig: str) -> Session | str:
    """Or why there is none."""
    try:
        return stack.enter_context(session(stage, json.loads(Path(kubeconfig).read_text())))
    except TROUBLE as error:
        return str(error)


@contextlib.contextmanager
def _out(held: Session | str, stage: Stage) -> Iterator[Way]:
    if isinstance(held, str):
        raise Failed(held)
    yield held.out(stage.pod)


@contextlib.contextmanager
def _into(held: Session | str, stage: Stage) -> Iterator[Way]:
    if isinstance(held, str):
        raise Failed(held)
    with ways.client_in_pod(stage.pod, "asker", on_node=False) as asker:
        yield held.into(asker)


@contextlib.contextmanager
def kubeconfig_by_link(stage: Stage, round_trip: float) -> Iterator[str]:
    """Path of a developer's kubeconfig; without a round trip the server itself is asked, by no link."""
    if round_trip or stage.loss:
        with Link.before_server(stage.kubeconfig) as link, losing(stage.loss, [link.port]):
            link.delay(round_trip)
            yield link.kubeconfig(stage.kubeconfig)
        return
    with tempfile.TemporaryDirectory(prefix="telepresence-py-bench-") as directory:
        path = Path(directory) / "kubeconfig"
        write_kubeconfig(path, stage.kubeconfig)
        yield str(path)


Opener = tuple[str, Callable[[], AbstractContextManager[Way]]]


def _openers(stage: Stage, round_trip: float, kubeconfig: str) -> list[Opener]:
    every: list[Opener] = [
        (OURS, lambda: ways.tunnel(stage.pod, kubeconfig)),
        (KUBECTL, lambda: ways.kubectl(stage.pod, kubeconfig)),
        (OPENSSH, lambda: openssh(stage.pod, kubeconfig)),
    ]
    if round_trip or stage.loss:
        every.append((LINK, partial(ways.link_alone, round_trip, stage.loss)))
    else:
        every.append((DIRECT, lambda: ways.direct(stage.pod)))
    ours = (OURS,) if "tunnel" in stage.parts else ()
    return [opener for opener in every if opener[0] in (*ours, LINK, *stage.rivals)]


def _openers_into(stage: Stage, kubeconfig: str, held: Session | str) -> list[Opener]:
    every: list[Opener] = [
        (SESSION, partial(_into, held, stage)),
        (OPENSSH, lambda: openssh_back(stage.pod, kubeconfig)),
        (BESIDE, lambda: ways.beside(stage.pod)),
    ]
    return [opener for opener in every if opener[0] in (SESSION, BESIDE, *stage.rivals)]


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
