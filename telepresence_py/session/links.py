"""What the user is told of the links: one line when the first is lost, one when all are back."""

from __future__ import annotations

import trio

from telepresence_py.model.events import Event, Level, Report
from telepresence_py.tunnel.interface import Tunnel
from telepresence_sidecar.contract.heartbeat import INTERVAL

SAME_SECONDS = INTERVAL + 0.5
"""What cuts all links at the same moment is noticed by each at its next heartbeat: they belong together."""


class LinkNews:
    """Follows the links of all tunnels. `report` hears of an outage, not of each link."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._followed = 0
        self._down: set[Tunnel] = set()
        self._outage = False
        self._since = self._back_at = 0.0
        self._resumed = self._given_up = False

    async def follow(self, tunnel: Tunnel, gone: trio.Event) -> None:
        """Until it is cancelled; `forget` the tunnel then. With a pod that is `gone` its link goes, too."""
        self._followed += 1
        try:
            while True:
                await tunnel.link_down.wait()
                if tunnel.lost.is_set() or gone.is_set():
                    return
                self._went_down(tunnel)
                await tunnel.link_up.wait()
                if tunnel.lost.is_set():
                    return
                await self._came_back(tunnel)
        finally:
            self._followed -= 1

    def forget(self, tunnel: Tunnel, given_up: bool) -> None:
        """It is over; `given_up` tells that its pod lives on, so that connections were lost with the link."""
        if tunnel in self._down:
            self._given_up = self._given_up or given_up
            self._is_over(tunnel)

    def _went_down(self, tunnel: Tunnel) -> None:
        self._down.add(tunnel)
        if not self._outage:
            self._outage, self._since = True, trio.current_time()
            self._resumed = self._given_up = False
            text = "Link to the cluster lost: connections wait, dialling again"
            self._report(Event("link-lost", text, Level.WARNING))

    async def _came_back(self, tunnel: Tunnel) -> None:
        self._resumed, self._back_at = True, trio.current_time()
        self._down.discard(tunnel)
        if self._followed > 1:
            with trio.move_on_at(self._since + SAME_SECONDS):
                await tunnel.link_down.wait()
                return
        self._tell_end()

    def _is_over(self, tunnel: Tunnel) -> None:
        self._back_at = trio.current_time()
        self._down.discard(tunnel)
        self._tell_end()

    def _tell_end(self) -> None:
        if self._down or not self._outage:
            return
        self._outage = False
        seconds = self._back_at - self._since
        if self._given_up:
            text = f"Link not resumed after {seconds:.1f} s: its connections are lost, new ones go on"
            self._report(Event("link-given-up", text, Level.WARNING))
        elif self._resumed:
            text = f"Link back after {seconds:.1f} s: no connection was lost"
            self._report(Event("link-back", text, Level.NOTICE, {"seconds": seconds}))
