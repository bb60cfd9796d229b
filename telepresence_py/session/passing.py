"""Pods of ours that are going pass what they hold, and what still comes to them, to one that stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, Protocol

import trio

from telepresence_py.cluster.calls import Json
from telepresence_py.session.plan import SwapPlan
from telepresence_py.session.podboard import PodBoard
from telepresence_py.session.podstate import (
    addresses,
    holder_of,
    is_finished,
    is_ready,
    is_sidecar,
)
from telepresence_py.session.replica import Replica

Addresses = tuple[str, ...]

NOWHERE: Addresses = ("ff02::1",)
"""No connection can be made to a multicast address, and the kernel says so at once: connections wait."""

KNOWN_SECONDS = 2.0  # after which every node's proxy knows of a pod that became Ready, on a busy node too


class Links(Protocol):
    """Who is told of pods that come and go while a session lasts: its tunnels."""

    keep: Callable[[Replica], None]

    async def pass_on(self, replica: Replica, addresses: Addresses) -> None: ...


class Passing:
    """`run` looks after the pods that were named to it for as long as they last."""

    def __init__(self, board: PodBoard, plan: SwapPlan, links: Links) -> None:
        self._board = board
        self._plan = plan
        self._links = links
        self._going: dict[str, Replica] = {}
        self._told: dict[str, Addresses] = {}

    def add(self, member: Replica) -> None:
        """A pod that is on its way out, whoever deleted it."""
        self._going[member.uid] = member
        self._board.wake()

    async def before_end(self, member: Replica) -> None:
        """The same for one that is about to be deleted; returns when it knows."""
        self._going[member.uid] = member
        self._told[member.uid] = self._successor()
        await self._links.pass_on(member, self._told[member.uid])

    async def run(self) -> NoReturn:
        async with trio.open_nursery() as nursery:
            while True:
                member, successor = await self._board.wait(self._to_tell)
                # who held all there was goes once it has passed it on: not before its successor is known
                late = self._told.get(member.uid) == NOWHERE
                self._told[member.uid] = successor
                nursery.start_soon(self._tell, member, KNOWN_SECONDS if late else 0.0)
        raise AssertionError("unreachable")

    async def _tell(self, member: Replica, pause: float) -> None:
        await trio.sleep(pause)
        await self._links.pass_on(member, self._told[member.uid])

    def _to_tell(self) -> tuple[Replica, Addresses] | None:
        self._going = {uid: one for uid, one in self._going.items() if one.pod is not None}
        successor = self._successor()
        for uid, member in self._going.items():
            if self._told.get(uid) != successor:
                return member, successor
        return None

    def _successor(self) -> Addresses:
        """The youngest pod that is Ready, as the oldest are the next to go in a rollout.

        Where there is none, connections wait where they are, as long as that pod is let.
        """
        youngest = max(
            (pod for uid, pod in self._board.pods.items() if uid not in self._going and self._takes(pod)),
            key=lambda pod: pod["metadata"]["creationTimestamp"],
            default=None,
        )
        return NOWHERE if youngest is None else addresses(youngest)

    def _takes(self, pod: Json) -> bool:
        ours = is_sidecar(pod) and holder_of(pod).session == self._plan.config.session
        return is_ready(pod) and not is_finished(pod) and (ours or self._plan.target.has(pod))
