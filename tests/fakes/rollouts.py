"""A small Deployment controller for the small API server: rolling updates, Recreate, undo, scaling.

Images that begin with "broken" never become Ready. Other pods do when `tick` is called, as after a while.
"""

from __future__ import annotations

import copy
from typing import Any

from tests.fakes.cluster import FakeCluster, controllers, counts, deployment, running

Json = dict[str, Any]


class Rollouts:
    """The deployment `orders` of a cluster, with one container "app". Call its methods from any thread."""

    def __init__(
        self,
        cluster: FakeCluster,
        replicas: int = 1,
        *,
        recreate: bool = False,
        max_surge: int = 1,
        max_unavailable: int = 0,
    ) -> None:
        self.cluster = cluster
        self.recreate = recreate
        self.max_surge = max_surge
        self.max_unavailable = max_unavailable
        self.current = "abc"
        self.former = "abc"
        thing, self._pattern = deployment(replicas)
        cluster.kubelet = lambda pod: running(pod, ready=False)
        cluster.manage = self._reconcile
        cluster.add("deployments", thing)
        cluster.add("replicasets", copy.deepcopy(self._pattern))
        self.tick()

    # -- what a user does ----------------------------------------------------------------------------------

    def roll(self, image_and_hash: str) -> None:
        """A new template; the same word again is the same template again."""
        with self.cluster.lock:
            if image_and_hash == self.current:
                return
            self.former, self.current = self.current, image_and_hash
            if ("replicasets", f"orders-{image_and_hash}") not in self.cluster.objects:
                self.cluster.add("replicasets", self._replicaset(image_and_hash))
            self.cluster.edit("deployments", "orders", lambda one: None)

    def undo(self) -> None:
        self.roll(self.former)

    def scale(self, replicas: int) -> None:
        self.cluster.edit("deployments", "orders", lambda one: one["spec"].update(replicas=replicas))

    def tick(self) -> None:
        """Pods that can become Ready are, now."""
        with self.cluster.lock:
            while late := [pod for pod in self.cluster.pods() if counts(pod) and can_be_ready(pod)]:
                name = late[0]["metadata"]["name"]
                self.cluster.edit("pods", name, lambda pod: pod.update(status=running(pod)))

    # -- what there is -------------------------------------------------------------------------------------

    def wanted(self) -> dict[str, int]:
        """Replica counts of the ReplicaSets that have any, by hash."""
        found = {one["metadata"]["name"]: one["spec"]["replicas"] for one in self._replicasets()}
        return {name.removeprefix("orders-"): count for name, count in sorted(found.items()) if count}

    def pods_of(self, word: str) -> list[Json]:
        uid = self.cluster.objects["replicasets", f"orders-{word}"]["metadata"]["uid"]
        return [pod for pod in self.cluster.pods() if controllers(pod) == [uid] and counts(pod)]

    # -- the controller ------------------------------------------------------------------------------------

    def _replicaset(self, word: str) -> Json:
        one = copy.deepcopy(self._pattern)
        labels = one["metadata"]["labels"] | {"pod-template-hash": word}
        one["metadata"] |= {"name": f"orders-{word}", "uid": f"uid-{word}", "labels": labels}
        one["spec"] |= {"replicas": 0, "selector": {"matchLabels": labels}}
        one["spec"]["template"]["metadata"]["labels"] = labels
        one["spec"]["template"]["spec"]["containers"][0]["image"] = word
        return one

    def _replicasets(self) -> list[Json]:
        return [one for (plural, _), one in self.cluster.objects.items() if plural == "replicasets"]

    def _reconcile(self) -> None:
        if ("deployments", "orders") not in self.cluster.objects:
            return
        wanted = self.cluster.objects["deployments", "orders"]["spec"]["replicas"]
        new = next((one for one in self._replicasets() if self._word(one) == self.current), None)
        if new is None:
            return
        old = [one for one in self._replicasets() if one is not new]
        if self.recreate:
            self._recreate(wanted, new, old)
        else:
            self._roll(wanted, new, old)

    def _recreate(self, wanted: int, new: Json, old: list[Json]) -> None:
        for one in old:
            self._set(one, 0)
        uids = [one["metadata"]["uid"] for one in old]
        if not any(uid in controllers(pod) for pod in self.cluster.pods() for uid in uids):
            self._set(new, wanted)

    def _roll(self, wanted: int, new: Json, old: list[Json]) -> None:
        total = sum(one["spec"]["replicas"] for one in self._replicasets())
        room = wanted + self.max_surge - total
        size = new["spec"]["replicas"]
        if size > wanted:
            self._set(new, wanted)
            return
        if size < wanted and room > 0:
            self._set(new, min(wanted, size + room))
            return
        unavailable = size - self._available(new)
        may_go = total - (wanted - self.max_unavailable) - unavailable
        for one in sorted(old, key=self._available):
            going = min(max(may_go, 0), one["spec"]["replicas"])
            healthy = self._available(one)
            if going and (healthy < one["spec"]["replicas"] or self._spare(wanted) > 0):
                self._set(one, one["spec"]["replicas"] - 1)
                return

    def _spare(self, wanted: int) -> int:
        return sum(map(self._available, self._replicasets())) - (wanted - self.max_unavailable)

    def _available(self, replicaset: Json) -> int:
        return sum(1 for pod in self.pods_of(self._word(replicaset)) if is_ready(pod))

    def _set(self, replicaset: Json, replicas: int) -> None:
        if replicaset["spec"]["replicas"] != replicas:
            changed = copy.deepcopy(replicaset)
            changed["spec"]["replicas"] = replicas
            self.cluster.put("replicasets", changed)

    @staticmethod
    def _word(replicaset: Json) -> str:
        return str(replicaset["metadata"]["name"]).removeprefix("orders-")


def is_ready(pod: Json) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))


def can_be_ready(pod: Json) -> bool:
    return not is_ready(pod) and not pod["spec"]["containers"][0]["image"].startswith("broken")
