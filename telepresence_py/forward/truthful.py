"""connect() tells the truth: the child's first packet waits in the kernel until the far leg stands, or not.

The kernel's own connect() does the rest: it repeats the packet, and gives up when it would in the pod. A far
leg that came to nothing in silence (a dropped packet, a tunnel that was lost) is silence to the child, too:
the repetition is dialled anew.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from functools import partial
from typing import Protocol

from telepresence_py.forward.dialling import Dial
from telepresence_py.forward.packets import Endpoint
from telepresence_py.forward.syns import Arrival, Ends, HeldConnections
from telepresence_py.model.world import HeldSyn

MOST_WAITING = 8192
"""Far legs dialled at a time; who comes then is not heard, as by a full listener, and comes again."""

REMEMBERED_SECONDS = 10.0
"""An accepted connection is there at once, unless we are very busy."""

_SILENCE = frozenset({errno.ETIMEDOUT, errno.ECONNRESET, errno.ECONNABORTED})
"""No network says these to a connect(): they are the dial's own, or those of a lost tunnel."""


class SynQueue(Protocol):
    """What isolation has of the kernel's queue; its contracts are told there."""

    descriptors: tuple[int, ...]

    def receive(self) -> tuple[list[HeldSyn], list[Ends]]: ...

    def is_connecting(self, syn: HeldSyn) -> bool: ...

    def let_go(self, syn: HeldSyn) -> None: ...

    def refuse(self, syn: HeldSyn, error: int) -> None: ...

    def drop(self, syn: HeldSyn) -> None: ...


class Truthful:
    """Decides about what the queue holds until `close`, which leaves what waits unanswered and ends all legs
    that nobody took. `dial_for(syn)` makes a leg that is not started. To be made where an asyncio loop runs.
    """

    def __init__(self, queue: SynQueue, dial_for: Callable[[HeldSyn], Dial]) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue = queue
        self._dial_for = dial_for
        self._held: HeldConnections[Dial] = HeldConnections(MOST_WAITING, REMEMBERED_SECONDS)
        self._sweep: asyncio.TimerHandle | None = None
        for descriptor in queue.descriptors:
            self._loop.add_reader(descriptor, self._readable)

    def __len__(self) -> int:
        """Connections that wait."""
        return self._held.waiting

    def close(self) -> None:
        for descriptor in self._queue.descriptors:
            self._loop.remove_reader(descriptor)
        if self._sweep is not None:
            self._sweep.cancel()
        _end(self._held.clear())

    def taken(self, child: Endpoint, destination: Endpoint) -> Dial | None:
        """The leg of an accepted connection, to be joined; None for one that was never held."""
        return self._held.taken((child, destination), self._loop.time())

    def _readable(self) -> None:
        syns, gone = self._queue.receive()
        for syn in syns:
            self._arrived(syn)
        for ends in gone:
            self._given_up(ends)

    def _arrived(self, syn: HeldSyn) -> None:
        arrival, outdated = self._held.arrived(syn, self._loop.time())
        _end(outdated)
        if arrival is Arrival.GOES_ON:
            self._queue.let_go(syn)
        elif arrival is not Arrival.NEW:
            self._queue.drop(syn)
        else:
            dial = self._dial_for(syn)
            self._held.waits(syn, dial)
            dial.start(partial(self._answered, syn, dial))

    def _answered(self, syn: HeldSyn, dial: Dial, error: int) -> None:
        if error == 0:
            _end(self._held.goes_on(syn, dial, self._loop.time()))
            self._queue.let_go(syn)
            self._sweep_later()
            return
        self._held.forget(syn)
        dial.end()
        if error in _SILENCE:
            self._queue.drop(syn)
        else:
            self._queue.refuse(syn, error)

    def _given_up(self, ends: Ends) -> None:
        """A socket is gone: the child's, which does not wait any more, or one of no interest here."""
        found = self._held.waiting_between(ends)
        # it may be gone and another one connect already with the same ends
        if found is not None and not self._queue.is_connecting(found[0]):
            syn, dial = found
            self._held.forget(syn)
            dial.end()
            self._queue.drop(syn)

    def _sweep_later(self) -> None:
        if self._sweep is None:
            self._sweep = self._loop.call_later(REMEMBERED_SECONDS, self._swept)

    def _swept(self) -> None:
        self._sweep = None
        _end(self._held.expire(self._loop.time()))
        if self._held.remembered:
            self._sweep_later()


def _end(dials: list[Dial]) -> None:
    for dial in dials:
        dial.end()
