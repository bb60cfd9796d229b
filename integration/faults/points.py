"""PURE: at which steps of a swap and its restore somebody dies, who can, and which cases are tried."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import partial
from itertools import product

from integration.faults.gate import Step
from integration.faults.victims import VICTIMS, Victim

REPLICAS = 2


@dataclass(frozen=True)
class Point:
    """Where the gate holds the session, or what was `said` on stderr, which is as near as it gets.

    `has` tells what is there by then; `serves`: clients may have come to a sidecar. With `mute` the child
    never listens, with `leaving` it has ended by itself.
    """

    name: str
    step: Step | None = None
    said: str = ""
    has: frozenset[str] = frozenset()
    serves: bool = False
    mute: bool = False
    leaving: bool = False


def _points() -> tuple[Point, ...]:
    pod = frozenset({"pod"})
    sidecar = pod | {"sidecar"}
    agent = sidecar | {"agent"}
    child = agent | {"child"}
    leaving = partial(Point, has=sidecar, serves=True, leaving=True)
    last = REPLICAS
    return (
        Point("planned", said=r"Standing in for "),
        Point("recorded", Step("create", 1)),
        Point("created, unheard of", Step("create", 1, answered=True), has=pod),
        Point("the first created", Step("create", last), has=pod),
        Point("all created", Step("create", last, answered=True), has=pod),
        Point("running", Step("forward", 1), has=sidecar),
        Point("dialled", Step("forward", 1, answered=True), has=sidecar),
        Point("connected", said=r"Connected to ", has=sidecar),
        Point("isolated", said=r"isolated by ", has=agent),
        Point("child started", said=r"Waiting for the command to listen", has=child, mute=True),
        Point("ready", Step("adopt", 1), has=child, serves=True),
        Point("the first adopted, unheard of", Step("adopt", 1, answered=True), has=child, serves=True),
        Point("all adopted", Step("adopt", last, answered=True), has=child, serves=True),
        Point("in place", said=r"In place: ", has=child, serves=True),
        leaving("child ended", Step("release", 1)),
        leaving("the first released, unheard of", Step("release", 1, True)),
        leaving("all released", Step("release", last, True)),
        leaving("handed over", Step("delete", 1)),
        leaving("the first deleted, unheard of", Step("delete", 1, True)),
        leaving("the last handed over", Step("delete", last)),
        Point("all deleted", Step("delete", last, answered=True), serves=True, leaving=True),
        Point("restored", said=r"Restored ", leaving=True, serves=True),
    )


POINTS = _points()
CURES = ("itself", "restore")
"""How the workload comes back when nobody is left: by itself, or at once by `restore`."""


@dataclass(frozen=True)
class Case:
    """`cure` is "" where the session itself restores."""

    point: Point
    victim: Victim
    cure: str

    def __str__(self) -> str:
        return "-".join(filter(None, (self.victim.name, self.point.name.replace(" ", "_"), self.cure)))


def all_cases() -> list[Case]:
    return [
        Case(point, victim, cure)
        for victim, point in product(VICTIMS, POINTS)
        if not victim.needs or victim.needs in point.has
        for cure in (CURES if victim.orphans else ("",))
    ]


def sample(seed: int, size: int) -> list[Case]:
    """As many cases, each victim about as often as any other."""
    chance = random.Random(seed)
    by_victim = {victim.name: [case for case in all_cases() if case.victim is victim] for victim in VICTIMS}
    for cases in by_victim.values():
        chance.shuffle(cases)
    order = list(by_victim)
    chance.shuffle(order)
    turns = [by_victim[name][turn] for turn in range(size) for name in order if turn < len(by_victim[name])]
    return turns[:size]
