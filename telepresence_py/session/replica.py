"""One sidecar pod: what is waited for in its life, and why it may not come."""

from __future__ import annotations

from contextlib import suppress

import trio

from telepresence_py.cluster.calls import Json
from telepresence_py.cluster.client import Cluster
from telepresence_py.cluster.exchange import NoAnswer
from telepresence_py.cluster.pods import follow_log, read_log
from telepresence_py.cluster.portforward import port_forward_target
from telepresence_py.model.errors import PreconditionFailed, SessionLost
from telepresence_py.model.network import WebSocketTarget
from telepresence_py.session.image import no_image
from telepresence_py.session.manifest import SidecarShape
from telepresence_py.session.podboard import PodBoard
from telepresence_py.session.podstate import (
    Waiting,
    containers_ready,
    is_finished,
    is_ready,
    is_running,
    missing_gates,
    trouble,
    unschedulable,
    waiting_in_vain,
)
from telepresence_sidecar.contract import FINGERPRINT_LOG_PREFIX

START_SECONDS = 120.0
NO_NODE_SECONDS = 10.0  # a node may become free; an autoscaler is not waited for
LOG_SECONDS = 20.0
READY_SECONDS = 60.0
GATE_SECONDS = 120.0  # a load balancer may look several times before it trusts a new pod
AGAIN_SECONDS = 0.2
LOOK_SECONDS = 5.0


class Replica:
    """One sidecar pod of ours.

    `gone` is set once it is ending or has ended, `gone_reason` is a clause when it was not we who ended it;
    `dismissed` is set when we did. `failure` tells what kept it from starting. `owner` is the uid of the
    ReplicaSet from whose template it was made, `original` the name of the pod that it displaces: None
    for one that only keeps a place in the cluster.
    """

    owner = ""
    original: str | None = None

    def __init__(
        self, cluster: Cluster, shape: SidecarShape, pod_name: str, board: PodBoard, uid: str
    ) -> None:
        self._cluster = cluster
        self._shape = shape
        self._board = board
        self.pod_name = pod_name
        self.uid = uid
        self.adopted = False
        self.gone = trio.Event()
        self.gone_reason = ""
        self.dismissed = False
        self.failure = ""
        self._born = trio.current_time()

    @property
    def pod(self) -> Json | None:
        """As the API server last told; None when it is gone."""
        return self._board.pods.get(self.uid)

    def dial(self) -> WebSocketTarget:
        """Where to open the port-forward to the sidecar's tunnel port; fresh credentials at each call.

        Blocks while a login plugin of the kubeconfig runs, which is seldom.
        """
        return port_forward_target(self._cluster, self.pod_name, self._shape.config.tunnel_port)

    async def wait_running(self) -> str:
        """The sidecar's host key fingerprint (`SHA256:...`) once its container runs.

        PreconditionFailed within seconds when the image cannot be had or no node has room.
        """
        with trio.move_on_after(START_SECONDS):
            if await self._board.wait(self._started_or_nowhere) == "nowhere":
                with trio.move_on_after(NO_NODE_SECONDS):
                    await self._board.wait(self._started)
                self._require_node()
                await self._board.wait(self._started)
            return await self._fingerprint()
        raise PreconditionFailed(
            f"the pod {self.pod_name} did not start within {START_SECONDS:.0f} s: {self._trouble()}"
        )

    async def wait_ready(self) -> None:
        """Return when the kubelet found the sidecar ready, and every readiness gate is met."""
        with trio.move_on_after(READY_SECONDS):
            await self._board.wait(self._ready)
            return
        seconds = READY_SECONDS
        cause = f"its node does not get an answer on port {self._shape.config.health_port} of the pod"
        if containers_ready(self._living()) and (gates := missing_gates(self._living())):
            seconds, cause = GATE_SECONDS, f"nobody sets its readiness gate {gates[0]}"
            with trio.move_on_after(GATE_SECONDS - READY_SECONDS):
                await self._board.wait(self._ready)
                return
        raise PreconditionFailed(
            f"the pod {self.pod_name} did not become Ready within {seconds:.0f} s: {cause}"
        )

    def lost_because(self) -> str | None:
        """A clause when the pod has ended or is ending, else None."""
        pod = self.pod
        if pod is None or pod["metadata"].get("deletionTimestamp"):
            return "it was deleted by a scale-down, a rollout, a drain or by hand"
        return f"it has ended ({trouble(pod)})" if is_finished(pod) else None

    async def is_gone_for_sure(self) -> bool:
        """Asked of the API server, whatever it told last; False when it does not answer soon."""
        listed = self._board.look_anew()
        with trio.move_on_after(LOOK_SECONDS):
            await listed.wait()
        return self.lost_because() is not None

    def lives(self) -> bool:
        """Whether it may be counted on."""
        return not (self.dismissed or self.failure) and self.lost_because() is None

    def is_ready(self) -> bool:
        pod = self.pod
        return pod is not None and is_ready(pod)

    def age(self) -> float:
        """In seconds."""
        return trio.current_time() - self._born

    def fail(self, failure: str) -> None:
        """It does not come to life; who waits on the pods hears of it."""
        self.failure = failure
        self._board.wake()

    def _living(self) -> Json:
        pod = self.pod
        if pod is None or pod["metadata"].get("deletionTimestamp"):
            raise SessionLost(f"the pod {self.pod_name} was deleted while it was waited for: try again")
        return pod

    def _started(self) -> bool | None:
        pod = self._living()
        waiting = waiting_in_vain(pod)
        if waiting is not None:
            raise self._cannot_start(waiting)
        return True if is_running(pod, self._shape.container) or is_finished(pod) else None

    def _started_or_nowhere(self) -> str | None:
        if self._started():
            return "started"
        return "nowhere" if unschedulable(self._living()) is not None else None

    def _ready(self) -> bool | None:
        pod = self._living()
        if is_finished(pod):
            raise SessionLost(
                f"the sidecar in pod {self.pod_name} ended before it was ready ({trouble(pod)})"
            )
        return True if is_ready(pod) else None

    def _require_node(self) -> None:
        reason = unschedulable(self._living())
        if reason is not None:
            beside = "" if self._shape.holder is None else f" beside the original of {self._shape.workload}"
            raise PreconditionFailed(f"no node has room for the pod {self.pod_name}{beside}: {reason}")

    def _cannot_start(self, waiting: Waiting) -> PreconditionFailed:
        detail = f"{waiting.reason}: {waiting.message}" if waiting.message else waiting.reason
        if waiting.for_image and waiting.container == self._shape.container:
            return PreconditionFailed(no_image(self._shape.image, detail))
        return PreconditionFailed(
            f"container {waiting.container} of pod {self.pod_name} cannot start: {detail}"
        )

    def _trouble(self) -> str:
        pod = self.pod
        return "it is gone" if pod is None else trouble(pod)

    async def _fingerprint(self) -> str:
        """From the pod log, which comes through the API server: so it can be trusted as much as that."""
        found: list[str] = []

        def look(line: str) -> bool:
            if line.startswith(FINGERPRINT_LOG_PREFIX):
                found.append(line.removeprefix(FINGERPRINT_LOG_PREFIX).strip())
            return bool(found)

        with trio.move_on_after(LOG_SECONDS):
            while not found:
                with suppress(NoAnswer):  # the connection broke: the log is read again from its beginning
                    await follow_log(self._cluster, self.pod_name, self._shape.container, look)
                if not found:
                    # the kubelet may know of the running container a moment later than the API server
                    await self._require_no_end()
                    await trio.sleep(AGAIN_SECONDS)
        if not found:
            raise PreconditionFailed(
                f"the sidecar in pod {self.pod_name} does not tell its host key: is "
                f"{self._shape.image} a sidecar's image of this version?"
            )
        return found[0]

    async def _require_no_end(self) -> None:
        if not is_finished(self._living()):
            return
        last = await read_log(self._cluster, self.pod_name, self._shape.container, lines=3)
        said = f", and said last: {' / '.join(last)}" if last else ""
        raise PreconditionFailed(
            f"the sidecar in pod {self.pod_name} ended at once ({self._trouble()}){said}"
        )
