"""PURE: what becomes of the first packets of connections that the kernel holds for us.

A connection is known by its two ends. While its far leg is dialled it waits; once that stands the packet has
gone on, and the accepted connection takes the leg. What went on is remembered for a while: a repetition of
its packet may still come, and a leg that nobody takes has to end.
"""

from __future__ import annotations

from enum import Enum
from typing import Generic, NamedTuple, TypeVar

from telepresence_py.forward.flows import IdleTable
from telepresence_py.model.world import HeldSyn

Leg = TypeVar("Leg")
Ends = tuple[tuple[str, int], tuple[str, int]]
"""The child's end and the one that it means."""

_MOST_REMEMBERED = 1 << 16


class Arrival(Enum):
    """What to do with a packet."""

    NEW = "dial for it"
    REPEATED = "drop it: the one before stands for it"
    GOES_ON = "let it go as well: the one before was lost on its way to the listener"
    TOO_MANY = "drop it: it comes again"


class _GoneOn(NamedTuple, Generic[Leg]):
    sequence: int
    leg: Leg | None  # None once it was taken


class HeldConnections(Generic[Leg]):
    """At most `most` wait at a time. A leg is ended by the caller when a method returns it, but for `taken`.
    Times come from the caller, and rise."""

    def __init__(self, most: int, remember_seconds: float) -> None:
        self._most = most
        self._waiting: dict[Ends, tuple[HeldSyn, Leg]] = {}
        self._gone_on: IdleTable[Ends, _GoneOn[Leg]] = IdleTable(_MOST_REMEMBERED, remember_seconds)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def remembered(self) -> int:
        return len(self._gone_on)

    def arrived(self, syn: HeldSyn, now: float) -> tuple[Arrival, list[Leg]]:
        """A packet, and the legs of a connection with the same ends that the child gave up for this one."""
        ends = _ends(syn)
        if (waiting := self._waiting.get(ends)) is not None:
            if waiting[0].sequence == syn.sequence:
                return Arrival.REPEATED, []
            del self._waiting[ends]
            return Arrival.NEW, [waiting[1]]
        if (gone_on := self._gone_on.use(ends, now)) is not None:
            if gone_on.sequence == syn.sequence:
                return (Arrival.REPEATED if gone_on.leg is None else Arrival.GOES_ON), []
            self._gone_on.remove(ends)
        outdated = [] if gone_on is None or gone_on.leg is None else [gone_on.leg]
        return (Arrival.TOO_MANY if len(self._waiting) >= self._most else Arrival.NEW), outdated

    def waits(self, syn: HeldSyn, leg: Leg) -> None:
        """The leg is being dialled."""
        self._waiting[_ends(syn)] = syn, leg

    def goes_on(self, syn: HeldSyn, leg: Leg, now: float) -> list[Leg]:
        """The leg stands, the packet is let go."""
        self.forget(syn)
        gone = self._gone_on.add(_ends(syn), _GoneOn(syn.sequence, leg), now)
        return [each.leg for each in gone if each.leg is not None]

    def forget(self, syn: HeldSyn) -> None:
        """The leg came to nothing; a repetition is a new packet."""
        self._waiting.pop(_ends(syn), None)

    def waiting_between(self, ends: Ends) -> tuple[HeldSyn, Leg] | None:
        return self._waiting.get(ends)

    def taken(self, ends: Ends, now: float) -> Leg | None:
        """The leg of a connection that was accepted; None if there is none, or it was taken before."""
        gone_on = self._gone_on.use(ends, now)
        if gone_on is None:
            return None
        self._gone_on.add(ends, gone_on._replace(leg=None), now)
        return gone_on.leg

    def expire(self, now: float) -> list[Leg]:
        """Forget what went on long ago."""
        return [each.leg for each in self._gone_on.expire(now) if each.leg is not None]

    def clear(self) -> list[Leg]:
        gone = [each.leg for each in self._gone_on.clear() if each.leg is not None]
        gone += [leg for _syn, leg in self._waiting.values()]
        self._waiting.clear()
        return gone


def _ends(syn: HeldSyn) -> Ends:
    return syn.child, syn.destination
