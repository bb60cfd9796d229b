"""A small API server over HTTP, with just enough of ReplicaSet controller, scheduler and kubelet for a swap.

It answers the real client, so that tests see real requests; faults are put in by assigning to its hooks.
"""

from __future__ import annotations

import copy
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from telepresence_py.cluster.calls import REPLICASETS
from telepresence_py.cluster.owners import PodOwner, Workload, reference, selector_text
from telepresence_py.model.plugin import PluginCall, PluginEnd

Json = dict[str, Any]
Refuse = Callable[[str, str, Json], tuple[int, str] | None]
MAKERS = {
    "replicasets": {"apiVersion": "apps/v1", "kind": "ReplicaSet"},
    "replicationcontrollers": {"apiVersion": "v1", "kind": "ReplicationController"},
}
"""What makes and adopts pods, by plural."""


class FakeCluster:
    """Namespace "shop" with what `add` put in. All hooks are called under the lock.

    `admit` is a mutating webhook. `kubelet` gives a new pod its status. `manage` is a controller besides.
    `refuse(method, path, body)` answers a request with a status and message. `lingering` pods stay,
    terminating, until `let_go`. While `controllers_rest` no controller does anything.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.objects: dict[tuple[str, str], Json] = {}
        self.events: list[tuple[int, str, str, Json]] = []
        self.version = 100
        self.numbers = 0
        self.requests: list[tuple[str, str]] = []
        self.headers: list[list[tuple[str, str]]] = []
        self.client_certificates: list[Any] = []
        self.logs: dict[str, str] = {}
        self.lingering: Callable[[Json], bool] = lambda pod: False
        self.admit: Callable[[Json], None] = lambda pod: None
        self.kubelet: Callable[[Json], Json] = running
        self.manage: Callable[[], None] = lambda: None
        self.refuse: Refuse = lambda method, path, body: None
        self.controllers_rest = False
        self.cut_connections = 0
        self.stopped = False
        self.watches_forgotten = 0
        self.watches_broken = 0
        self.allowed_rules: list[Json] = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]
        self.url = ""

    # -- what tests call ---------------------------------------------------------------------------------

    def add(self, plural: str, thing: Json) -> Json:
        with self.lock:
            self._stamp(thing)
            self.objects[plural, thing["metadata"]["name"]] = thing
            self._tell(plural, "ADDED", thing)
            self._reconcile()
            return thing

    def remove(self, plural: str, name: str) -> None:
        with self.lock:
            thing = self.objects.pop((plural, name))
            self._tell(plural, "DELETED", thing)
            if plural == "deployments":
                for pod in self.pods():
                    self._delete_pod(pod)
                self.objects = {key: one for key, one in self.objects.items() if key[0] != "replicasets"}
            self._reconcile()

    def edit(self, plural: str, name: str, change: Callable[[Json], None]) -> None:
        with self.lock:
            thing = copy.deepcopy(self.objects[plural, name])
            change(thing)
            self.put(plural, thing)
            self._reconcile()

    def pods(self) -> list[Json]:
        with self.lock:
            return [thing for (plural, _), thing in self.objects.items() if plural == "pods"]

    def pod_names(self) -> list[str]:
        return sorted(pod["metadata"]["name"] for pod in self.pods())

    def let_go(self) -> None:
        """Terminating pods are gone."""
        with self.lock:
            for pod in self.pods():
                if pod["metadata"].get("deletionTimestamp"):
                    self.objects.pop(("pods", pod["metadata"]["name"]))
                    self._tell("pods", "DELETED", pod)
            self._reconcile()

    def break_watches(self) -> None:
        """As when a proxy between forgets its connections."""
        with self.lock:
            self.watches_broken += 1
            self.changed.notify_all()

    def count(self, method: str, part: str) -> int:
        return sum(1 for seen, path in self.requests if seen == method and part in path)

    # -- controllers -------------------------------------------------------------------------------------

    def _reconcile(self) -> None:
        before = self.version if self.controllers_rest else -1
        while before != self.version:
            before = self.version
            self.manage()
            self._reconcile_makers()
        self._collect_garbage()

    def _reconcile_makers(self) -> None:
        for plural, _ in list(self.objects):
            if plural in MAKERS:
                for thing in [one for (kind, _), one in self.objects.items() if kind == plural]:
                    self._reconcile_one(MAKERS[plural] | reference_to(thing), thing)

    def _reconcile_one(self, owner: Json, maker: Json) -> None:
        uid, selector = maker["metadata"]["uid"], maker["spec"]["selector"]
        labels = selector.get("matchLabels", selector)
        for pod in self.pods():
            orphan = not controllers(pod)
            matches = labels.items() <= (pod["metadata"].get("labels") or {}).items()
            if orphan and matches and not pod["metadata"].get("deletionTimestamp"):
                adopted = copy.deepcopy(pod)
                adopted["metadata"]["ownerReferences"] = [owner]
                self.put("pods", adopted)
        owned = [pod for pod in self.pods() if controllers(pod) == [uid] and counts(pod)]
        for pod in sorted(owned, key=rank)[: max(len(owned) - maker["spec"]["replicas"], 0)]:
            self._delete_pod(pod)
        for _ in range(maker["spec"]["replicas"] - len(owned)):
            self.numbers += 1
            self._create_pod(original(maker, f"{maker['metadata']['name']}-o{self.numbers}", owner))

    def _collect_garbage(self) -> None:
        """Services whose owners are gone."""
        uids = {pod["metadata"]["uid"] for pod in self.pods()}
        for (plural, name), thing in list(self.objects.items()):
            owners = [one["uid"] for one in thing["metadata"].get("ownerReferences") or ()]
            if plural == "services" and owners and not uids.intersection(owners):
                del self.objects[plural, name]

    def _create_pod(self, pod: Json) -> Json:
        self._stamp(pod)
        self.admit(pod)
        pod["status"] = self.kubelet(pod)
        self.objects["pods", pod["metadata"]["name"]] = pod
        self._tell("pods", "ADDED", pod)
        return pod

    def _delete_pod(self, pod: Json) -> None:
        if pod["metadata"].get("deletionTimestamp"):
            return
        gone = copy.deepcopy(pod)
        gone["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 1}
        self.put("pods", gone)
        if not self.lingering(gone):
            self.objects.pop(("pods", gone["metadata"]["name"]))
            self._tell("pods", "DELETED", gone)

    def put(self, plural: str, thing: Json) -> None:
        self.version += 1
        thing["metadata"]["resourceVersion"] = str(self.version)
        self.objects[plural, thing["metadata"]["name"]] = thing
        self._tell(plural, "MODIFIED", thing)

    def _stamp(self, thing: Json) -> None:
        self.version += 1
        meta = thing["metadata"]
        meta.setdefault("uid", f"uid-{self.version}")
        meta.setdefault("creationTimestamp", "2026-01-01T00:00:00Z")
        meta.setdefault("namespace", "shop")
        meta["resourceVersion"] = str(self.version)

    def _tell(self, plural: str, kind: str, thing: Json) -> None:
        self.version += 1
        told = copy.deepcopy(thing)
        told["metadata"]["resourceVersion"] = str(self.version)
        self.events.append((self.version, plural, kind, told))
        self.changed.notify_all()

    # -- requests ----------------------------------------------------------------------------------------

    def answer(self, method: str, parts: list[str], query: dict[str, str], body: Json) -> tuple[int, Json]:
        """Status and object for everything but watches and logs."""
        plural, name = parts[0], parts[1] if len(parts) > 1 else ""
        if plural == "selfsubjectrulesreviews":
            return 201, {"status": {"resourceRules": self.allowed_rules, "incomplete": True}}
        if plural == "selfsubjectaccessreviews":
            return 201, {"status": {"allowed": False}}
        if plural == "events":
            return self._on_event(method, name, body)
        if method == "POST":
            return self._post_service(body) if plural == "services" else self._post(query, body)
        if not name:
            items = [one for (kind, _), one in self.objects.items() if kind == plural]
            chosen = [one for one in items if selected(one, query.get("labelSelector", ""))]
            return 200, {"items": chosen, "metadata": {"resourceVersion": str(self.version)}}
        found = self.objects.get((plural, name))
        if found is None:
            return 404, status(404, f'{plural} "{name}" not found')
        if method == "PATCH":
            return self._patch(found, body)
        if method == "DELETE":
            return self._delete(found, body)
        return 200, found

    def _post(self, query: dict[str, str], body: Json) -> tuple[int, Json]:
        pod = copy.deepcopy(body)
        meta = pod["metadata"]
        self.numbers += 1
        meta.setdefault("name", f"{meta.get('generateName', '')}g{self.numbers}")
        if ("pods", meta["name"]) in self.objects:
            return 409, status(409, f'pods "{meta["name"]}" already exists')
        if "dryRun" in query:
            self.admit(pod)
            names = [c["name"] for c in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"])]
            if len(set(names)) < len(names):
                return 422, status(422, f'Pod "{meta["name"]}" is invalid: Duplicate value')
            return 201, pod
        created = self._create_pod(pod)
        self._reconcile()
        return 201, created

    def _on_event(self, method: str, name: str, body: Json) -> tuple[int, Json]:
        there = self.objects.get(("events", name or body["metadata"]["name"]))
        if method == "POST":
            if there is not None:
                return 409, status(409, "events already exists")
            return 201, self.add("events", copy.deepcopy(body))
        if there is None:
            return 404, status(404, "events not found")
        self.put("events", there | body)
        return 200, there | body

    def _post_service(self, body: Json) -> tuple[int, Json]:
        name = body["metadata"]["name"]
        if ("services", name) in self.objects:
            return 409, status(409, f'services "{name}" already exists')
        return 201, self.add("services", copy.deepcopy(body))

    def _patch(self, found: Json, body: Json) -> tuple[int, Json]:
        if body["metadata"].get("uid") not in (None, found["metadata"]["uid"]):
            return 409, status(409, "the uid in the precondition differs")
        thing = copy.deepcopy(found)
        for key, value in body["metadata"].items():
            if value is None:
                thing["metadata"].pop(key, None)
            else:
                thing["metadata"][key] = value
        self.put("pods", thing)
        self._reconcile()
        return 200, thing

    def _delete(self, found: Json, body: Json) -> tuple[int, Json]:
        if body.get("preconditions", {}).get("uid") not in (None, found["metadata"]["uid"]):
            return 409, status(409, "the uid in the precondition differs")
        self._delete_pod(found)
        self._reconcile()
        return 200, found


def controllers(thing: Json) -> list[str]:
    return [one["uid"] for one in thing["metadata"].get("ownerReferences") or () if one.get("controller")]


def counts(pod: Json) -> bool:
    return not pod["metadata"].get("deletionTimestamp") and pod["status"]["phase"] in ("Pending", "Running")


def rank(pod: Json) -> tuple[bool, int]:
    """Which pod a ReplicaSet removes first: the not Ready ones, then the cheapest."""
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))
    annotations = pod["metadata"].get("annotations") or {}
    return ready, int(annotations.get("controller.kubernetes.io/pod-deletion-cost", 0))


def reference_to(thing: Json) -> Json:
    return {"name": thing["metadata"]["name"], "uid": thing["metadata"]["uid"], "controller": True}


def original(maker: Json, name: str, owner: Json | None = None) -> Json:
    """A pod as that ReplicaSet (or, with its reference, another maker of pods) makes it."""
    template = maker["spec"]["template"]
    owner = owner or MAKERS["replicasets"] | reference_to(maker)
    metadata = {
        "name": name,
        "labels": dict(template["metadata"]["labels"]),
        "ownerReferences": [owner],
    }
    return {"metadata": metadata, "spec": copy.deepcopy(template["spec"])}


def selected(thing: Json, selector: str) -> bool:
    labels = thing["metadata"].get("labels") or {}
    terms = (term.partition("=") for term in selector.split(",") if term)
    return all(labels.get(key) == value if equals else key in labels for key, equals, value in terms)


def status(code: int, message: str) -> Json:
    return {"kind": "Status", "status": "Failure", "code": code, "message": message}


def running(pod: Json, ready: bool = True) -> Json:
    """The status of a pod whose containers all run."""
    return {
        "phase": "Running",
        "podIPs": [{"ip": "10.1.2.3"}],
        "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        "containerStatuses": [
            {"name": c["name"], "state": {"running": {}}} for c in pod["spec"]["containers"]
        ],
    }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for an acknowledgement
    cluster: FakeCluster

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _serve(self) -> None:
        cluster, url = self.cluster, urlsplit(self.path)
        query = dict(parse_qsl(url.query))
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length)) if length else {}
        parts = url.path.strip("/").split("/")
        parts = parts[2:] if parts[0] == "api" else parts[3:]
        parts = parts[2:] if parts[0] == "namespaces" and len(parts) > 2 else parts
        with cluster.lock:
            cluster.requests.append((self.command, f"{url.path}?{url.query}"))
            cluster.headers.append(self.headers.items())
            if isinstance(self.connection, ssl.SSLSocket):
                cluster.client_certificates.append(self.connection.getpeercert() or {})
            if cluster.cut_connections > 0:
                cluster.cut_connections -= 1
                self.close_connection = True
                return
            refusal = cluster.refuse(self.command, self.path, body)
            if refusal is None and "watch" not in query and parts[-1] != "log":
                code, thing = cluster.answer(self.command, parts, query, body)
                text = json.dumps(thing).encode()
        if refusal is not None:
            self._whole(refusal[0], json.dumps(status(*refusal)).encode())
        elif "watch" in query:
            self._watch(parts[0], query)
        elif parts[-1] == "log":
            self._whole(200, cluster.logs.get(parts[1], "began\nhost key SHA256:fake\n").encode())
        else:
            self._whole(code, text)

    do_GET = do_POST = do_PATCH = do_DELETE = _serve

    def _whole(self, code: int, text: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _watch(self, plural: str, query: dict[str, str]) -> None:
        cluster, seen = self.cluster, int(query["resourceVersion"])
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with cluster.lock:
            if cluster.watches_forgotten > 0:
                cluster.watches_forgotten -= 1
                self._chunk({"type": "ERROR", "object": status(410, "too old resource version")})
                self.wfile.write(b"0\r\n\r\n")
                return
            broken = cluster.watches_broken
        while True:
            with cluster.lock:
                if cluster.version <= seen and not cluster.stopped:
                    cluster.changed.wait(0.5)
                if cluster.stopped or cluster.watches_broken > broken:
                    self.close_connection = True
                    return
                news = [event for event in cluster.events if event[0] > seen and event[1] == plural]
                seen = max(seen, cluster.version)
            for _, _, kind, thing in news:
                if selected(thing, query.get("labelSelector", "")):
                    self._chunk({"type": kind, "object": thing})

    def _chunk(self, event: Json) -> None:
        line = json.dumps(event).encode() + b"\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.flush()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients leave their watches when they like."""


@contextmanager
def fake_cluster(tls: ssl.SSLContext | None = None) -> Iterator[FakeCluster]:
    """The server on a free port of 127.0.0.1, for as long as the block runs; https:// with `tls`."""
    cluster = FakeCluster()
    handler = type("Handler", (_Handler,), {"cluster": cluster})
    server = _Server(("127.0.0.1", 0), handler)
    cluster.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_address[1]}"
    if tls is not None:  # each connection shakes hands in its own thread
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield cluster
    finally:
        with cluster.lock:
            cluster.stopped = True
            cluster.changed.notify_all()
        server.shutdown()
        server.server_close()
        thread.join()


def write_kubeconfig(path: Path, url: str, namespace: str = "shop") -> str:
    """A kubeconfig with one context, "test", for that server."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": "secret-token"}}],
        "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u", "namespace": namespace}}],
    }
    path.write_text(json.dumps(config))
    return str(path)


def no_plugin(call: PluginCall) -> PluginEnd:
    """For kubeconfigs that have none."""
    raise AssertionError(f"a plugin was to be run: {call}")


def deployment(replicas: int = 1, name: str = "orders", **template_spec: Any) -> tuple[Json, Json]:
    """A deployment and its ReplicaSet; container "app" with port 8080 unless the template says otherwise."""
    labels = {"app": name}
    hashed = labels | {"pod-template-hash": "abc"}
    container = {"name": "app", "image": "shop/orders:1", "ports": [{"containerPort": 8080, "name": "http"}]}
    spec = {"containers": [container]} | template_spec
    owner = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": name,
        "uid": "uid-deployment",
        "controller": True,
    }
    return (
        {
            "metadata": {"name": name, "uid": "uid-deployment"},
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels}},
        },
        {
            "metadata": {
                "name": f"{name}-abc",
                "uid": "uid-replicaset",
                "labels": hashed,
                "ownerReferences": [owner],
            },
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": hashed},
                "template": {"metadata": {"labels": hashed}, "spec": spec},
            },
        },
    )


def deployed(owner: Json, *replicasets: Json) -> Workload:
    """The deployment with these ReplicaSets, as it is read from the server."""
    return Workload(
        kind="deployment",
        name=owner["metadata"]["name"],
        uid=owner["metadata"]["uid"],
        replicas=owner["spec"]["replicas"],
        selector=selector_text(owner["spec"]["selector"]),
        pod_owners=tuple(PodOwner(REPLICASETS, one) for one in replicasets),
        holder=reference("apps/v1", "Deployment", owner),
        json=owner,
    )


def without_parent(replicaset: Json) -> Json:
    """That ReplicaSet by itself, without a deployment and its hash label."""
    bare = copy.deepcopy(replicaset)
    del bare["metadata"]["ownerReferences"]
    labels = {key: value for key, value in bare["metadata"]["labels"].items() if key != "pod-template-hash"}
    bare["metadata"] |= {"name": "orders", "uid": "uid-bare", "labels": labels}
    bare["spec"]["selector"]["matchLabels"] = labels
    bare["spec"]["template"]["metadata"]["labels"] = labels
    return bare


def replicationcontroller(replicas: int = 1) -> Json:
    bare = without_parent(deployment(replicas)[1])
    bare["metadata"]["uid"] = "uid-controller"
    bare["spec"]["selector"] = bare["spec"]["selector"]["matchLabels"]
    return bare


def owned_by_rollout(replicaset: Json, name: str = "orders") -> Json:
    """That ReplicaSet, made by the Rollout (a custom resource) of that name."""
    owned = copy.deepcopy(replicaset)
    owner = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": name, "uid": "uid-rollout"}
    owned["metadata"]["ownerReferences"] = [owner | {"controller": True, "blockOwnerDeletion": True}]
    return owned
