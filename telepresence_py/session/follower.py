"""Keeping a swap true while its workload changes: looks, asks `following` what to do, and does it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from itertools import count
from math import inf
from typing import NoReturn, Protocol

import trio

from telepresence_py.cluster.calls import Json
from telepresence_py.cluster.client import Cluster
from telepresence_py.cluster.owners import PodOwner, controller_uid
from telepresence_py.cluster.workloads import find_workload
from telepresence_py.model.errors import (
    ClusterUnreachable,
    PreconditionFailed,
    SessionLost,
    TelepresenceError,
    WorkloadHeld,
)
from telepresence_py.model.events import Event, Level, Report
from telepresence_py.session.following import (
    SELDOM_SECONDS,
    SHORT_LIFE_SECONDS,
    Adopt,
    Create,
    Drop,
    Original,
    Owner,
    Sidecar,
    View,
    decide,
    is_settled,
    pause_before_next,
)
from telepresence_py.session.holding import create_one, require_no_rival
from telepresence_py.session.manifest import lock_name, on_node, plain_pod
from telepresence_py.session.plan import SwapPlan, node_beside
from telepresence_py.session.podboard import PodBoard
from telepresence_py.session.podspec import used_ports
from telepresence_py.session.podstate import is_original, is_ready, is_taken_away
from telepresence_py.session.rehearsal import Form, admitted_form
from telepresence_py.session.replica import Replica

CALM_SECONDS = 0.15  # changes rarely come alone
FIRST_LOOK_SECONDS, LONGEST_LOOK_SECONDS = 2.0, 15.0


class Team(Protocol):
    """What is done with the sidecar pods of the session; `members` are those that were not removed."""

    members: tuple[Replica, ...]
    may_adopt: bool

    def join(self, pod: Json, owner: str, original: str | None) -> Replica: ...
    async def give_away(self, member: Replica) -> bool: ...
    async def dismiss(self, member: Replica) -> None: ...
    def forget(self, member: Replica) -> None: ...


class Follower:
    """Follows one workload. `run` makes no request while every pod of the workload is a sidecar."""

    def __init__(self, cluster: Cluster, plan: SwapPlan, board: PodBoard, team: Team, report: Report) -> None:
        self._cluster = cluster
        self._plan = plan
        self._board = board
        self._team = team
        self._report = report
        self._workload = plan.target
        self._owners = {one.uid: one for one in plan.target.pod_owners}
        self._last_owner = plan.replicas[0].owner.uid
        self._began_with = frozenset(one.owner.uid for one in plan.replicas)
        self._forms: dict[str, tuple[Json, Form]] = {}
        self._setbacks: list[float] = []
        self._told = ""

    async def run(self) -> NoReturn:
        """SessionLost when the workload is gone, somebody else took it, or something fights us."""
        again, interval = inf, FIRST_LOOK_SECONDS
        seen = self._seen()
        while True:
            with trio.move_on_after(again) as waiting:
                await self._board.wait(partial(self._changed_since, seen))
            interval = (
                min(2 * interval, LONGEST_LOOK_SECONDS) if waiting.cancelled_caught else FIRST_LOOK_SECONDS
            )
            await trio.sleep(CALM_SECONDS)
            seen = self._seen()
            try:
                pause = await self._look_and_act()
            except ClusterUnreachable:  # whoever watches the pods has told
                pause = 0.0
            again = inf if pause is None else pause or interval

    async def _look_and_act(self) -> float | None:
        """Seconds after which to look again though no pod changes, 0: the caller may choose, None: never."""
        if self._is_taken_away():
            raise SessionLost(
                f"somebody gave {self._plan.workload} back by `telepresence-py restore --force`"
            )
        await self._note_losses()
        if self._is_calm():
            return None
        workload = await find_workload(self._cluster, self._plan.workload, self._plan.target.uid)
        if workload is None:
            raise SessionLost(f"{self._plan.workload} was deleted, and with it the pods that stood in for it")
        self._workload = workload
        self._owners |= {one.uid: one for one in workload.pod_owners}
        view = self._view()
        steps = decide(view)
        await self._side_by_side(self._adopt, [one for one in steps if isinstance(one, Adopt)])
        await self._side_by_side(self._drop, [one for one in steps if isinstance(one, Drop)])
        creations = [one for one in steps if isinstance(one, Create)]
        if creations:
            pause = self._pause(any_left=bool(view.sidecars))
            if pause > 0:
                return pause
            if not await self._create_all(creations, alone=not view.sidecars):
                return 0.0
        return None if is_settled(view) else 0.0

    async def _create_all(self, creations: Sequence[Create], alone: bool) -> bool:
        if creations[0].original is None:
            self._tell_of_spare()
        created = [await self._create(one) for one in creations]
        if alone:
            await self._require_no_rival()
        return all(created)

    def _pause(self, any_left: bool) -> float:
        pause = pause_before_next(self._setbacks, trio.current_time())
        if pause is not None:
            return pause
        if any_left:
            return SELDOM_SECONDS
        raise SessionLost(
            f"the session has lost {self._plan.workload}: its pods were taken or refused again and again "
            f"(at last: {self._told}); the originals come back by themselves"
        )

    # --- what there is ---------------------------------------------------------------------------------

    def _view(self) -> View:
        return View(
            owners=tuple(
                Owner(one.uid, one.replicas, self._originals_of(one.uid)) for one in self._workload.pod_owners
            ),
            sidecars=tuple(
                Sidecar(one.pod_name, one.owner, one.is_ready(), one.adopted) for one in self._living()
            ),
            last_owner=self._last_owner,
            may_adopt=self._team.may_adopt,
        )

    def _originals(self) -> list[Json]:
        return [pod for pod in self._board.pods.values() if is_original(pod) and self._workload.has(pod)]

    def _originals_of(self, owner: str) -> tuple[Original, ...]:
        found = (
            Original(pod["metadata"]["name"], pod["metadata"]["uid"], is_ready(pod))
            for pod in self._originals()
            if controller_uid(pod) == owner
        )
        return tuple(sorted(found, key=lambda one: one.name))

    def _living(self) -> list[Replica]:
        return [one for one in self._team.members if one.lives()]

    def _seen(self) -> frozenset[tuple[object, ...]]:
        """What of the pods matters: something may have to be done when it changes."""
        originals = ((pod["metadata"]["uid"], is_ready(pod)) for pod in self._originals())
        ours = (
            (one.uid, one.is_ready(), one.lives(), one.adopted, one.gone.is_set())
            for one in self._team.members
        )
        return frozenset((*originals, *ours, (self._team.may_adopt, self._is_taken_away())))

    def _changed_since(self, seen: frozenset[tuple[object, ...]]) -> bool | None:
        return True if self._seen() != seen else None

    def _is_taken_away(self) -> bool:
        return any(pod is not None and is_taken_away(pod) for pod in (one.pod for one in self._team.members))

    def _is_calm(self) -> bool:
        """Whether nothing has to be done, whatever the replica counts are by now."""
        living = self._living()
        if not self._team.may_adopt:
            return not decide(self._view())
        in_place = bool(living) and all(one.adopted for one in living)
        return in_place and not any(map(is_ready, self._originals()))

    async def _note_losses(self) -> None:
        for one in self._team.members:
            if one.gone.is_set():
                self._last_owner = one.owner or self._last_owner
                if not one.dismissed and one.age() < SHORT_LIFE_SECONDS:
                    self._setback(one.gone_reason)
                self._team.forget(one)
            elif one.failure and not one.dismissed:
                self._setback(one.failure)
                await self._team.dismiss(one)

    def _setback(self, reason: str) -> None:
        self._setbacks = [*self._setbacks[-99:], trio.current_time()]
        self._told = reason

    # --- what is done ----------------------------------------------------------------------------------

    async def _side_by_side(
        self, act: Callable[[Replica], Awaitable[None]], steps: Sequence[Adopt | Drop]
    ) -> None:
        """Of the pods that still live: one may have died since it was decided upon."""
        names = {step.pod_name for step in steps}
        async with trio.open_nursery() as nursery:
            for member in self._living():
                if member.pod_name in names:
                    nursery.start_soon(act, member)

    async def _adopt(self, member: Replica) -> None:
        if await self._team.give_away(member):
            text = f"The pod {member.pod_name} stands in for {member.original or 'the one that came'}"
            self._report(Event("replica-joined", text, data={"pod": member.pod_name}))

    async def _drop(self, member: Replica) -> None:
        await self._team.dismiss(member)

    async def _create(self, step: Create) -> bool:
        """False when it was refused, which is told."""
        owner = self._owners[step.owner]
        try:
            name = self._free_name(owner)
            manifest = self._beside(step.original, owner, (await self._form(owner, name))(name))
            original = step.original.name if step.original else None
            await create_one(
                self._cluster, self._plan.shape, manifest, lambda pod: self._joined(pod, owner, original)
            )
        except WorkloadHeld as error:
            raise SessionLost(f"the session has lost {self._plan.workload}: {error}") from error
        except ClusterUnreachable:
            raise
        except TelepresenceError as error:
            if str(error) != self._told:
                text = f"A pod of {self._plan.workload} has no stand-in: {error}"
                self._report(Event("replica-refused", text, Level.WARNING))
            self._setback(str(error))
            return False
        return True

    def _beside(self, original: Original | None, owner: PodOwner, manifest: Json) -> Json:
        """Bound to the original's node if both need a volume of that node."""
        pod = None if original is None else self._board.pods.get(original.uid)
        node = None if pod is None else node_beside(pod, owner, self._plan.claims)
        return manifest if node is None else on_node(manifest, node)

    def _joined(self, pod: Json, owner: PodOwner, original: str | None) -> None:
        member = self._team.join(pod, owner.uid, original)
        if owner.uid not in self._began_with:
            self._began_with |= {owner.uid}
            text = (
                f"{self._plan.workload} has a new template ({owner}): the command goes on, with the "
                "environment and the files that it began with"
            )
            self._report(Event("template-changed", text, Level.NOTICE, {"pod": member.pod_name}))

    def _free_name(self, owner: PodOwner) -> str:
        taken: Collection[str] = {pod["metadata"]["name"] for pod in self._board.pods.values()}
        names = (lock_name(owner.name, number) for number in count(1))
        return next(name for name in names if name not in taken)

    async def _form(self, owner: PodOwner, name: str) -> Form:
        """Rehearsed once for each template."""
        plain = plain_pod(owner)
        known = self._forms.get(owner.uid)
        if known is None or known[0] != plain:
            self._require_same_shape(owner)
            known = plain, await admitted_form(self._cluster, self._plan.shape, plain, name)
            self._forms[owner.uid] = known
        return known[1]

    def _require_same_shape(self, owner: PodOwner) -> None:
        spec, config = owner.template["spec"], self._plan.config
        if self._plan.container not in [one["name"] for one in spec["containers"]]:
            raise PreconditionFailed(f"{owner} has no container {self._plan.container} any more")
        in_the_way = used_ports(spec) & {config.tunnel_port, config.health_port}
        if in_the_way:
            raise PreconditionFailed(f"{owner} uses port {min(in_the_way)}, which the sidecar has for itself")

    async def _require_no_rival(self) -> None:
        try:
            await require_no_rival(self._cluster, self._plan)
        except WorkloadHeld as error:
            raise SessionLost(f"the session has lost {self._plan.workload}: {error}") from error

    def _tell_of_spare(self) -> None:
        why = "has 0 replicas" if self._workload.replicas == 0 else "has no Ready pod now"
        text = f"{self._plan.workload} {why}: the command goes on, with a pod of its own in the cluster"
        self._report(Event("replica-spare", text, Level.NOTICE))
