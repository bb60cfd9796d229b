"""What the user is told of the links: one line when the first is lost, one when all are back."""

from __future__ import annotations

import trio

from telepresence_py.model.events import Event, Level, Report
from telepresence_py.tunnel.interface import Tunnel


class LinkNews:
    """Follows the links of all tunnels. `report` hears of an outage, not of each link."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._down: set[Tunnel] = set()
        self._since = 0.0
        self._resumed = self._given_up = False

    async def follow(self, tunnel: Tunnel, gone: trio.Event) -> None:
        """Until it is cancelled; `forget` the tunnel then. With a pod that is `gone` its link goes, too."""
        while True:
            await tunnel.link_down.wait()
            if tunnel.lost.is_set() or gone.is_set():
                return
            self._went_down(tunnel)
            await tunnel.link_up.wait()
            if tunnel.lost.is_set():
                return
            self._came_back(tunnel)

    def forget(self, tunnel: Tunnel, given_up: bool) -> None:
        """It is over; `given_up` tells that its pod lives on, so that connections were lost with the link."""
        if tunnel in self._down:
            self._given_up = self._given_up or given_up
            self._is_over(tunnel)

    def _went_down(self, tunnel: Tunnel) -> None:
        if not self._down:
            self._since, self._resumed, self._given_up = trio.current_time(), False, False
            text = "Link to the cluster lost: connections wait, dialling again"
            self._report(Event("link-lost", text, Level.WARNING))
        self._down.add(tunnel)

    def _came_back(self, tunnel: Tunnel) -> None:
        self._resumed = True
        self._is_over(tunnel)

    def _is_over(self, tunnel: Tunnel) -> None:
        self._down.discard(tunnel)
        if self._down:
            return
        seconds = trio.current_time() - self._since
        if self._given_up:
            text = f"Link not resumed after {seconds:.1f} s: its connections are lost, new ones go on"
            self._report(Event("link-given-up", text, Level.WARNING))
        elif self._resumed:
            text = f"Link back after {seconds:.1f} s: no connection was lost"
            self._report(Event("link-back", text, Level.NOTICE, {"seconds": seconds}))
