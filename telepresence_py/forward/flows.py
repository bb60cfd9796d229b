"""PURE: what is alive of things that never say goodbye: they end by being unused, or too many."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class IdleTable(Generic[K, V]):
    """At most `most` entries, each until `idle_seconds` after its last use.

    Times come from the caller, and rise. What is removed is returned, for the caller to close.
    """

    def __init__(self, most: int, idle_seconds: float) -> None:
        self._most = most
        self._idle_seconds = idle_seconds
        self._entries: OrderedDict[K, tuple[V, float]] = OrderedDict()  # the longest unused first

    def __len__(self) -> int:
        return len(self._entries)

    def use(self, key: K, now: float) -> V | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries[key] = (entry[0], now)
        self._entries.move_to_end(key)
        return entry[0]

    def add(self, key: K, value: V, now: float) -> list[V]:
        """Returns what had to go to make room: the entry of that key, or the one unused for longest."""
        gone = self.remove(key)
        while len(self._entries) >= self._most:
            gone.append(self._entries.popitem(last=False)[1][0])
        self._entries[key] = (value, now)
        return gone

    def remove(self, key: K) -> list[V]:
        entry = self._entries.pop(key, None)
        return [] if entry is None else [entry[0]]

    def expire(self, now: float) -> list[V]:
        """Removes what has been unused for `idle_seconds`."""
        gone = []
        while self._entries:
            key, (value, used) = next(iter(self._entries.items()))
            if now - used < self._idle_seconds:
                break
            del self._entries[key]
            gone.append(value)
        return gone

    def clear(self) -> list[V]:
        gone = [value for value, _ in self._entries.values()]
        self._entries.clear()
        return gone
