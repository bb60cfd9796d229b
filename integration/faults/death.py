"""One death, from the swap that it ends to what must be true after it."""

from __future__ import annotations

import contextlib
import time
from functools import partial
from types import TracebackType
from typing import Any, Self

from integration.faults.place import CUSTOMERS, ECHO, NAME, PEER, Place
from integration.faults.points import Case
from integration.faults.victims import CHILD, Scene
from integration.probe.asking import Probe
from integration.support.aftermath import assert_no_process_left, assert_restored
from integration.support.namespaces import Tally
from integration.support.waiting import wait_until

GRACE = 5.0
LONG_GRACE = 600.0
BACK = 10.0
"""Seconds beyond the grace period after which the workload is promised to be back by itself."""
DRAIN = 30.0
"""Seconds for which a sidecar may go on that has handed over to the originals and was never removed."""
PATIENCE = 60.0
CUT_OFF = ("RemoteDisconnected", "ConnectionResetError", "IncompleteRead", "Connection reset")
"""What a customer sees whose request somebody had accepted and never answered."""
REFUSED = ("Connection refused", "No route to host", "timed out")
"""What a customer sees while nobody is there, or while a node's proxy takes for alive who is not."""


class Death:
    """`begin`, `strike`, `see_it_through` while the load lasts, then `judge`. Leaves the place as it was."""

    def __init__(self, place: Place, case: Case) -> None:
        self._place, self._case = place, case
        self._scene: Scene
        self._probe: Probe
        self._held_open: set[str] = set()
        self._began = self._struck = self._back = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        place = self._place
        place.gate.hold_at(None)
        place.gate.mend()
        if "in" in self._held_open:
            place.outside.ask("finish", flow="in", at_most=1)
        if kind is not None:
            place.product.end_all()
            place.colleague.run("restore", "--all", "--force")
            with contextlib.suppress(AssertionError):
                assert_restored(place.before)

    def begin(self) -> None:
        """The swap, up to the step of the case."""
        place, point = self._place, self._case.point
        self._began = time.monotonic()
        place.gate.hold_at(point.step)
        grace = LONG_GRACE if self._case.cure == "restore" else GRACE
        program = place.product.source(f"integration/probe/{CHILD}")
        listen = () if point.mute else ("http:8080", f"echo:{ECHO}")
        child = ("env", "PROBE_WHO=laptop", place.product.python, program, *listen)
        options = ("--grace", f"{grace:g}s", "--verbose")
        running = place.product.start("swap", NAME, *options, "--", *child, pipe_stdout=True)
        self._scene = Scene(place.namespace, NAME, place.product, place.gate, running, running.session_pid())
        self._probe = Probe(running.process)
        if point.leaving:
            running.wait_in_place()
            self._end_child()
        if point.step is None:
            running.wait_err(point.said)
        else:
            wait_until(
                self._held, PATIENCE, f"{point.step} is asked for", every=0.02, seen=lambda: running.err
            )
        self._hold_open()

    def strike(self) -> None:
        self._struck = time.monotonic()
        self._case.victim.kill(self._scene)
        if self._case.victim.orphans:
            self._place.gate.drop()
        else:
            self._place.gate.let_go()

    def see_it_through(self) -> None:
        """Until the workload is back, as it is promised for this victim."""
        running = self._scene.running
        if self._case.cure == "restore":
            self._restore_from_elsewhere()
        elif self._case.victim.orphans:
            self._wait_healed()
        else:
            if self._case.victim.spares and not self._case.point.leaving:
                self._wait_recovered()
            running.wait()
            assert_restored(self._place.before)
        self._back = time.monotonic()
        if self._case.cure == "itself":
            self._wait_finished()
        self._assert_connections_ended()

    def judge(self, tally: Tally) -> None:
        """Nothing of ours is left, and no request failed but for a reason that docs/dying.md names."""
        place = self._place
        code = self._scene.running.wait()
        self._assert_told(code)
        if self._case.cure == "itself":
            self._run_again()
        place.product.run("list")
        assert_no_process_left(place.product)
        self._assert_explained(tally)

    # -- inside ----------------------------------------------------------------------------------------

    def _held(self) -> bool:
        running = self._scene.running
        assert running.process.poll() is None, f"it ended before its step:\n{running.err}"
        return self._place.gate.reached.is_set()

    def _end_child(self) -> None:
        stdin = self._scene.running.process.stdin
        assert stdin is not None
        with contextlib.suppress(BrokenPipeError):
            stdin.close()

    def _hold_open(self) -> None:
        """A connection in each direction, as far as there can be one already."""
        place, point = self._place, self._case.point
        flow: dict[str, Any] = {"size": 100, "per_second": 20, "port": ECHO}
        if "child" in point.has and not point.mute:
            self._probe.ask("open", flow="out", host=PEER, **flow)
            self._held_open.add("out")
        if point.name == "in place":
            place.outside.ask("open", flow="in", host=NAME, **flow)
            self._held_open.add("in")
        for name, end in {"out": self._probe, "in": place.outside}.items():
            if name in self._held_open:
                wait_until(partial(moves, end, name), PATIENCE, f"bytes come back, {name}")

    def _wait_healed(self) -> None:
        wait_until(
            self._place.has_originals,
            GRACE + BACK + PATIENCE,
            "the originals are back by themselves",
            seen=self._place.describe,
        )

    def _wait_finished(self) -> None:
        """A sidecar that has handed over goes on doing so for its drain period, and then ends, too."""
        wait_until(
            self._place.is_back,
            GRACE + DRAIN + PATIENCE,
            "the sidecars have ended",
            seen=self._place.describe,
        )

    def _restore_from_elsewhere(self) -> None:
        """On another machine, where nothing is known of the session."""
        restored = self._place.colleague.run("restore", NAME, "--force")
        assert restored.code == 0, restored.err
        assert self._place.is_back(), self._place.describe()
        assert_restored(self._place.before)

    def _wait_recovered(self) -> None:
        """Until it ended with a sentence, or stands in again; then its child ends."""
        running = self._scene.running

        def settled() -> bool:
            return running.process.poll() is not None or (
                "In place: " in running.err and self._place.is_in_our_hands()
            )

        if self._case.point.mute:
            settled = lambda: True  # noqa: E731
        wait_until(settled, 2 * PATIENCE, "the session goes on, or ends", seen=lambda: running.err)
        if running.process.poll() is None:
            self._end_child()

    def _assert_connections_ended(self) -> None:
        """Nobody is left with a connection to somebody who is dead."""
        place = self._place
        if "in" in self._held_open:
            wait_until(lambda: place.outside.ask("look")["in"]["wrong"], PATIENCE, "the client sees the end")
        if "out" in self._held_open:
            wait_until(
                lambda: place.outside.ask("established", port=ECHO) == 0,
                PATIENCE,
                "the child's server sees the end",
            )

    def _measure(self, tally: Tally, cut: list[str], refused: list[str]) -> None:
        """For docs/dying.md; seen with `-s`."""
        when = [round(at - (self._struck - self._began), 1) for at in sorted(tally.failed_at)]
        print(
            f"\n{self._case}: back after {self._back - self._struck:.1f} s; {tally.requests} requests, "
            f"{len(cut)} cut, {len(refused)} refused for {tally.longest_refusal():.1f} s, the longest "
            f"{tally.longest:.1f} s; failed at {when[:3]}...{when[-1:]}"
        )

    def _assert_told(self, code: int) -> None:
        name, point = self._case.victim.name, self._case.point
        assert code in _CODES[name] or (point.leaving and code == 0), self._scene.running.err

    def _run_again(self) -> None:
        """The next run removes what the dead one left."""
        again = self._place.colleague.run("swap", NAME, "--", "true")
        assert again.code == 0, again.err
        assert_restored(self._place.before)

    def _assert_explained(self, tally: Tally) -> None:
        """As docs/dying.md says: before anybody serves for the workload nothing fails; then what dies takes
        along what it had accepted; while nobody is left customers are refused."""
        victim, point = self._case.victim, self._case.point
        cut = [one for one in tally.failures if any(word in one for word in CUT_OFF)]
        refused = [one for one in tally.failures if any(word in one for word in REFUSED)]
        others = [one for one in tally.failures if one not in cut and one not in refused]
        seconds = self._struck - self._began
        early = [at for at in tally.failed_at if at < seconds]
        self._measure(tally, cut, refused)
        assert others == []
        if not point.serves:
            assert tally.failures == []
        elif not (victim.orphans or victim.spares):
            assert refused == []
            assert len(cut) <= CUSTOMERS, cut
        elif not point.leaving:
            assert early == []
        assert set(tally.answers) <= {"cluster", "laptop"}


def moves(end: Probe, name: str) -> bool:
    return bool(end.ask("look")[name]["back"])


_CODES = {
    "cli": {137},
    "group": {137},
    "laptop": {137, 75},  # the CLI may hear of the session's death before its own
    "session": {75},
    "agent": {70, 75, 137},  # 75 where the command was just to be started
    "child": {137},
    "sidecar": {0, 75, 78},  # the last where it ends before it has told its host key
    "pod": {0, 75},
}
