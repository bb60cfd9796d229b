"""One link to a sidecar and the calls that carry it, one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from telepresence_py.model.errors import ClusterUnreachable, NoRights, PreconditionFailed, TelepresenceError
from telepresence_py.tunnel.calling import Caller, failures_as_ours
from telepresence_py.tunnel.websocket import DialFailed
from telepresence_sidecar.contract.link import Carried, Leg, Link

FIRST_RETRY, LONGEST_RETRY = 0.05, 1.0
FIRST_TRY_SECONDS = 10.0
TRY_SECONDS, TRY_ROUND_TRIPS = 5.0, 20
"""One dial of a link that was lost takes at most so long, or so many round trips on a long way; then another
may find the way open that has opened meanwhile."""


class Line:
    """asyncio. `begin` until it carries, then `keep_up`: it is dialled again by itself when it breaks, as
    long as its patience lasts. `close` ends it, after its mux has.

    `on_change` hears when the link goes up or down.
    """

    def __init__(
        self,
        caller: Caller,
        name: str,
        patience_seconds: float,
        on_change: Callable[[], None],
        beside: Link | None = None,
    ) -> None:
        self.link = Link(name, on_change, lambda _: self._went_down(), beside)
        self._caller = caller
        self._patience_seconds = patience_seconds
        self._on_change = on_change
        self._kept_up = False
        self._dialling: asyncio.Task[None] | None = None

    def carry(self, carried: Carried) -> None:
        self._carried = carried
        self.link.carry(carried)

    async def begin(self, wanted: asyncio.Future[Any] | None = None) -> None:
        """One dial: until the link is up, or `wanted` is done. Raises what `failures_as_ours` tells."""
        await self._dial(FIRST_TRY_SECONDS, wanted)

    def keep_up(self) -> None:
        self._kept_up = True
        if not self.link.up:
            self._went_down()

    async def close(self) -> None:
        self._kept_up = False
        if self._dialling is not None:
            self._dialling.cancel()
            await asyncio.wait([self._dialling])
        await self._caller.wait_closed()

    def cut(self) -> None:
        self._caller.cut()

    # --- inside ----------------------------------------------------------------------------------------

    def _went_down(self) -> None:
        self._on_change()
        if self._kept_up and (self._dialling is None or self._dialling.done()):
            self._dialling = asyncio.get_running_loop().create_task(self._redial())

    async def _redial(self) -> None:
        """Until the link is up again; it fails when that takes too long or will never be."""
        pause = FIRST_RETRY
        try:
            async with asyncio.timeout(self._patience_seconds):
                while not (self.link.up or self.link.over):
                    with suppress(DialFailed, ClusterUnreachable, NoRights, PreconditionFailed):
                        await self._dial(max(TRY_SECONDS, TRY_ROUND_TRIPS * self._carried.round_trip))
                        continue
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, LONGEST_RETRY)
        except TimeoutError:
            self.link.fail(ConnectionResetError(f"not reached again in {self._patience_seconds:g} s"))
        except TelepresenceError as error:
            self.link.fail(ConnectionResetError(str(error)))

    async def _dial(self, seconds: float, wanted: asyncio.Future[Any] | None = None) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(None) as limit:  # a login plugin may take its time before
                leg = await self._call(lambda: limit.reschedule(loop.time() + seconds))
                await asyncio.wait((wanted or leg.begun, leg.ended), return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            raise DialFailed(ClusterUnreachable(_SILENT.format(seconds))) from None
        if leg.ended.done() and not (wanted or leg.begun).done():
            with failures_as_ours():
                raise leg.ended.result() or ConnectionResetError("the sidecar hung up")

    async def _call(self, on_begin: Callable[[], None]) -> Leg:
        """A pipe for the link."""
        with failures_as_ours():
            channel = await self._caller.call(lambda: self.link.claim, on_begin)
        leg = self.link.attach(channel)
        channel.carry(leg)
        return leg


_SILENT = "the sidecar did not answer within {:g} seconds; see the pod's log"
