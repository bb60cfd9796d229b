"""What the API server last said of a workload's pods: one list and one watch, for all who wait on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import trio

from telepresence_py.cluster.calls import Json
from telepresence_py.cluster.client import Cluster
from telepresence_py.cluster.exchange import NoAnswer
from telepresence_py.cluster.pods import list_pods, watch_pods
from telepresence_py.model.errors import TelepresenceError
from telepresence_py.model.events import Event, Level, Report

T = TypeVar("T")
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 5.0


class PodBoard:
    """`pods` by uid; a pod that is not there (any more) is gone. `follow` keeps it true while it runs."""

    def __init__(self, cluster: Cluster, selector: str, report: Report) -> None:
        self._cluster = cluster
        self._selector = selector
        self._report = report
        self._version = ""
        self._changed = trio.Event()
        self._ended: set[str] = set()
        self._failures = 0
        self._watching = trio.CancelScope()
        self._listed = trio.Event()
        self.pods: dict[str, Json] = {}

    def note(self, pod: Json) -> None:
        """Enter a pod that we created, lest it passes for gone until the watch tells of it."""
        uid = pod["metadata"]["uid"]
        if uid not in self._ended:
            self.pods.setdefault(uid, pod)

    async def refresh(self) -> None:
        """Replace all by a list, from which the watch goes on."""
        listed = await list_pods(self._cluster, self._selector)
        pods = {pod["metadata"]["uid"]: pod for pod in listed.items}
        self._ended |= self.pods.keys() - pods.keys()
        self.pods = pods
        self._version = listed.version
        self._back()
        self.wake()
        self._listed.set()

    def look_anew(self) -> trio.Event:
        """Begin again with a list, as a watch may be dead and nobody know it. Set once that is there."""
        self._version, self._listed = "", trio.Event()
        self._watching.cancel()
        return self._listed

    async def follow(self) -> None:
        """Watch until cancelled. An API server that is away is waited for, and reported once each time."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            begun = trio.current_time()
            try:
                if not self._version:
                    await self.refresh()
                status, broken = 200, ""
                with trio.CancelScope() as self._watching:
                    status = await watch_pods(self._cluster, self._selector, self._version, self._take)
            except (NoAnswer, TelepresenceError) as error:
                status, broken = 503, str(error)
            if trio.current_time() - begun > LONGEST_PAUSE_SECONDS:  # it stood for a while
                pause = FIRST_PAUSE_SECONDS
                self._back()
            if broken:
                self._away(broken)
            if status == 410:  # our version is too old by now: everything anew
                self._version = ""
            if status >= 300:
                await trio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def wait(self, condition: Callable[[], T | None]) -> T:
        """The first value other than None that the condition has, asked after each change; it may raise."""
        while True:
            changed = self._changed
            value = condition()
            if value is not None:
                return value
            await changed.wait()

    def _take(self, kind: str, pod: Json) -> bool:
        self._version = pod["metadata"]["resourceVersion"]
        self._back()
        uid = pod["metadata"].get("uid")
        if uid is None:
            return False  # a bookmark
        if kind == "DELETED":
            self.pods.pop(uid, None)
            self._ended.add(uid)
        else:
            self.pods[uid] = pod
        self.wake()
        return False

    def wake(self) -> None:
        """Have every condition asked anew."""
        self._changed.set()
        self._changed = trio.Event()

    def _away(self, cause: str) -> None:
        """A watch may break at any time; a server that cannot be reached again at once is away."""
        self._failures += 1
        if self._failures == 2:
            self._report(Event("api-server-away", f"The API server cannot be asked: {cause}", Level.WARNING))

    def _back(self) -> None:
        if self._failures >= 2:
            self._report(Event("api-server-back", "The API server can be asked again", Level.NOTICE))
        self._failures = 0
