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
TRY_SECONDS, TRY_ROUND_TRIPS = 5.0, 20
"""One dial of a link that was lost takes at most so long, or so many round trips on a long way."""


class Line:
    """asyncio. `call` until it carries, then `keep_up`: it is dialled again by itself when it breaks, as long
    as its patience lasts. `close` ends it, after its mux has.

    `on_change` hears when the link goes up or down.
    """

    def __init__(
        self, caller: Caller, name: str, patience_seconds: float, on_change: Callable[[], None]
    ) -> None:
        self.link = Link(name, on_change, lambda _: self._went_down())
        self._caller = caller
        self._patience_seconds = patience_seconds
        self._on_change = on_change
        self._kept_up = False
        self._dialling: asyncio.Task[None] | None = None

    def carry(self, carried: Carried) -> None:
        self._carried = carried
        self.link.carry(carried)

    async def call(self) -> Leg:
        """A pipe for the link. Raises what `failures_as_ours` tells."""
        with failures_as_ours():
            channel = await self._caller.call(lambda: self.link.claim)
        leg = self.link.attach(channel)
        channel.carry(leg)
        return leg

    async def wait(self, leg: Leg, wanted: asyncio.Future[Any], lost: asyncio.Future[Any]) -> None:
        """Until `wanted` is done. Raises the reason when the leg has ended, or the mux is `lost`."""
        await asyncio.wait((wanted, leg.ended), return_when=asyncio.FIRST_COMPLETED)
        if not wanted.done():
            with failures_as_ours():
                reason = lost.result() if lost.done() else leg.ended.result()
                raise reason or ConnectionResetError("the sidecar hung up")

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
            self._dialling = asyncio.get_running_loop().create_task(self._dial())

    async def _dial(self) -> None:
        """Until the link is up again; it fails when that takes too long or will never be."""
        pause = FIRST_RETRY
        try:
            async with asyncio.timeout(self._patience_seconds):
                while not self.link.up:
                    with suppress(DialFailed, ClusterUnreachable, NoRights, PreconditionFailed, TimeoutError):
                        await self._try()
                        continue
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, LONGEST_RETRY)
        except TimeoutError:
            self.link.fail(ConnectionResetError(f"not reached again in {self._patience_seconds:g} s"))
        except TelepresenceError as error:
            self.link.fail(ConnectionResetError(str(error)))

    async def _try(self) -> None:
        async with asyncio.timeout(max(TRY_SECONDS, TRY_ROUND_TRIPS * self._carried.round_trip)):
            leg = await self.call()
            await self.wait(leg, leg.begun, leg.ended)
