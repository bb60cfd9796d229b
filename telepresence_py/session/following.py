"""PURE: what a session does as its workload changes under it: whom to stand in for, whom to give to its
controller, whom to let go, and when to stop.

One rule is above all: a sidecar is given to its owner (a ReplicaSet or its like) only while that owner has a
Ready original of its own. Given to one that has none, it would count as progress of a rollout that is stuck,
and the last good original would be removed for good.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

FORGET_SECONDS = 60.0
"""After so long without a setback all is well again."""

SHORT_LIFE_SECONDS = 10.0
"""A sidecar that is taken younger than this is a setback; an older one was taken by the course of things."""

EPISODE_SECONDS = 1.5
"""Setbacks within so short a time have one cause, however many replicas there are."""

PAUSES_SECONDS = (0.0, 0.0, 1.0, 2.0, 4.0, 8.0)
"""Before the next try, by the number of episodes; with more of them we give up, or try seldom."""

SELDOM_SECONDS = 30.0


@dataclass(frozen=True)
class Original:
    """A pod of the workload's own that is neither finished nor on its way out."""

    name: str
    uid: str
    ready: bool


@dataclass(frozen=True)
class Owner:
    """Whoever makes originals. `wanted` is its replica count, 0 also when it is gone."""

    uid: str
    wanted: int
    originals: tuple[Original, ...] = ()

    @property
    def ready(self) -> tuple[Original, ...]:
        return tuple(one for one in self.originals if one.ready)


@dataclass(frozen=True)
class Sidecar:
    """A sidecar pod of this session that is neither finished nor on its way out, made for `owner` (a uid).

    `adopted` is True from the moment on that it was given away.
    """

    pod_name: str
    owner: str
    ready: bool
    adopted: bool


@dataclass(frozen=True)
class View:
    """One moment. `last_owner` is the uid for which the sidecar that was lost last, or made first, stood.

    Without `may_adopt` (the local process does not serve yet) nobody is given away.
    """

    owners: tuple[Owner, ...]
    sidecars: tuple[Sidecar, ...]
    last_owner: str
    may_adopt: bool = True


@dataclass(frozen=True)
class Create:
    """Make a sidecar from the template of `owner`, in order to displace `original`.

    None: only so that the local process keeps a pod in the cluster. It is held back like any other.
    """

    owner: str
    original: Original | None


@dataclass(frozen=True)
class Adopt:
    pod_name: str


@dataclass(frozen=True)
class Drop:
    pod_name: str


Step = Create | Adopt | Drop


def decide(view: View) -> tuple[Step, ...]:
    """What brings us nearer to: every Ready original is displaced, and there is always a sidecar.

    Nothing when all is well. Each step is right by itself, so a part of them may fail.
    """
    steps: list[Step] = []
    spare: list[Sidecar] = []
    for owner in view.owners:
        held = _held(view, owner.uid)
        to_displace = _to_displace(owner, _adopted(view, owner.uid))
        if view.may_adopt and _is_sound(owner, view):
            steps += [Adopt(one.pod_name) for one in held if one.ready][: len(to_displace)]
        steps += [Create(owner.uid, original) for original in to_displace[len(held) :]]
        spare += held[max(owner.wanted - _adopted(view, owner.uid), 0) :]
    known = {owner.uid for owner in view.owners}
    spare += [one for one in view.sidecars if not one.adopted and one.owner not in known]
    spare.sort(key=lambda one: not one.ready)
    serving = any(one.adopted and one.ready for one in view.sidecars)
    steps += [Drop(one.pod_name) for one in (spare if serving else spare[1:])]
    if not view.sidecars and not steps:
        steps.append(Create(view.last_owner, None))
    return tuple(steps)


def is_settled(view: View) -> bool:
    """Whether no replica count alone, without a pod that changes as well, can ask for another step."""
    return not any(owner.ready for owner in view.owners)


def pause_before_next(setbacks: Sequence[float], now: float) -> float | None:
    """Seconds still to wait before another sidecar is made, after setbacks at these times (ascending).

    None when something fights us: it was tried often enough.
    """
    episodes = 0
    last = float("-inf")
    for at in setbacks:
        if at - last > FORGET_SECONDS:
            episodes = 0
        if at - last > EPISODE_SECONDS:
            episodes += 1
        last = at
    if not setbacks or now - last > FORGET_SECONDS:
        return 0.0
    if episodes >= len(PAUSES_SECONDS):
        return None
    return max(last + PAUSES_SECONDS[episodes] - now, 0.0)


def _held(view: View, owner: str) -> list[Sidecar]:
    held = [one for one in view.sidecars if one.owner == owner and not one.adopted]
    return sorted(held, key=lambda one: not one.ready)


def _adopted(view: View, owner: str) -> int:
    return sum(1 for one in view.sidecars if one.owner == owner and one.adopted)


def _to_displace(owner: Owner, adopted: int) -> tuple[Original, ...]:
    """Ready originals less those that the controller is about to remove anyway (not Ready ones go before)."""
    surplus = max(len(owner.originals) + adopted - owner.wanted, 0)
    going = max(surplus - (len(owner.originals) - len(owner.ready)), 0)
    return owner.ready[going:]


def _is_sound(owner: Owner, view: View) -> bool:
    """During a rollout an owner is trusted once all its originals are Ready.

    A controller removes those that are not Ready first: taking the place of one that cannot start would
    let a rollout that is half stuck go on to its end.
    """
    rolling = sum(1 for one in view.owners if one.wanted or one.originals) > 1
    return not rolling or len(owner.ready) == len(owner.originals)
