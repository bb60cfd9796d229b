"""What a name outside the cluster costs a session's command, beside the same look-up in a pod."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from .asking import Client
from .figures import Figure, Limit
from .sessions import session
from .stage import Stage, attempted, say
from .tunnels import kubeconfig_by_link
from .ways import client_in_pod

IN_POD = "getaddrinfo in a pod"
OUTSIDE, OUTSIDE_ANYWHERE = "outside.example", "example.com"
"""What the project's own cluster resolves for pods alone, and what others do."""

COLD_MOST, WARM_MOST = 1.5, 0.2
"""In round trips of the link: one and none, and what the look-up itself takes."""


def naming_figures(stage: Stage, round_trips: list[float], rounds: int) -> list[Figure]:
    """Groups for each round trip, in milliseconds."""
    found = []
    for round_trip in round_trips:
        name = f"Names, {round_trip:g} ms round trip"
        found += attempted(name, partial(_by_link, stage, round_trip, rounds, name), name)
    return found


@dataclass
class _Seconds:
    """Of each round."""

    ours: list[float] = field(default_factory=list)
    pods: list[float] = field(default_factory=list)

    def figures(self, name: str, round_trip: float, most: float, group: str) -> list[Figure]:
        ours = tuple(1000 * each for each in self.ours)
        theirs = tuple(1000 * each for each in self.pods)
        found = [Figure(name, "ms", ours, IN_POD, theirs, group=group)]
        if round_trip:
            trips = tuple(each / round_trip for each in ours)
            limit = Limit(most=most)
            found.append(Figure(f"{name}, round trips", "trips", trips, limit=limit, group=group))
        return found


def _by_link(stage: Stage, round_trip: float, rounds: int, group: str) -> list[Figure]:
    outside = OUTSIDE if stage.namespace.cluster.is_own else OUTSIDE_ANYWHERE
    cold, warm = _Seconds(), _Seconds()
    with (
        kubeconfig_by_link(stage, round_trip) as kubeconfig,
        session(stage, json.loads(Path(kubeconfig).read_text())) as held,
        client_in_pod(stage.pod, "asker", on_node=False) as asker,
    ):

        def once(number: int) -> None:
            name = spelled(outside, number)
            for seconds in (cold, warm):
                seconds.pods.append(_look_up(asker, name))
                seconds.ours.append(_look_up(held.client, name))
            say(f"{group}, round {number}")

        stage.rounds(rounds, once, group)
    name = "a name outside the cluster"
    return [
        *cold.figures(f"{name}, cold", round_trip, COLD_MOST, group),
        *warm.figures(f"{name}, warm", round_trip, WARM_MOST, group),
    ]


def _look_up(client: Client, name: str) -> float:
    return float(client.ask("look_up", name=name)["seconds"])


def spelled(name: str, number: int) -> str:
    """The same name to every name server, in a spelling of its own, which nothing on this side has met."""
    places = [place for place, letter in enumerate(name) if letter.isalpha()]
    letters = list(name.lower())
    for bit, place in enumerate(places):
        if number >> bit & 1:
            letters[place] = letters[place].upper()
    return "".join(letters)
