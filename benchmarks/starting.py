"""From the command to in place, to the first answer, and back: beside `kubectl run` of the same image."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from integration.probe.manifests import Workload, probe_config_map
from integration.probe.swapping import python_probe
from integration.probe.town import settle
from integration.support.aftermath import sidecar_pods
from integration.support.namespaces import Namespace
from integration.support.product import Product, Running, product_for
from integration.support.waiting import wait_until
from telepresence_py.model.image import DEFAULT_IMAGE

from .figures import Figure, Limit
from .resident import Resident, resident_memory
from .stage import Stage, say

WORKLOAD = "bench"
RIVAL_POD = "rival"
OFTEN_SECONDS = 0.005
PAUSED = "import signal; signal.signal(signal.SIGTERM, lambda *_: exit()); signal.pause()"
ORIGINAL = """
import http.server, os, signal
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"who": "cluster"}')
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("", 8080), Answer).serve_forever()
"""
"""Ends as soon as it is told to: how long an original takes is no figure of ours."""

FIRST = "the child runs"
TELLS = 'echo "$0" >&2; exec "$@"'
"""As a shell's program: says its own name, and becomes the command."""

WATCHER = """
import json, sys, time, urllib.request
last = ""
while True:
    try:
        with urllib.request.urlopen(sys.argv[1], timeout=0.5) as answer:
            who = json.loads(answer.read())["who"]
    except (OSError, ValueError, KeyError):
        who = "nobody"
    if who != last:
        print(who, flush=True)
        last = who
    time.sleep(0.01)
"""


@dataclass(frozen=True)
class Start:
    """Seconds of one round, and the memory while the session was idle.

    `first_instruction` is until the child ran.

    `first_answer` is until a client in the cluster heard the local process. `restored` is from the end of the
    child to that of the CLI, `original_answer` to the first answer of an original that the client heard.
    """

    first_instruction: float
    in_place: float
    first_answer: float
    restored: float
    original_answer: float
    resident: Resident


def start_figures(stage: Stage, rounds: int) -> list[Figure]:
    """Of swaps of one workload, each beside a `kubectl run`."""
    measured: list[tuple[Start, float]] = []
    with product_for(stage.user, stage.kubeconfig) as product:
        deploy(stage.namespace)

        def once(number: int) -> None:
            rival = run_rival(stage.namespace, DEFAULT_IMAGE)
            start = swap_once(stage.namespace, product)
            measured.append((start, rival))
            say(f"round {number}: in place {start.in_place:.2f} s, kubectl run {rival:.2f} s")

        stage.rounds(rounds, once, "start")
        helps = [
            (_seconds(product.program), _seconds(stage.namespace.cluster.kubectl_program)) for _ in range(9)
        ]
    starts, rivals = [start for start, _ in measured], tuple(rival for _, rival in measured)
    rival, in_place = "kubectl run to Ready", Limit(most_ratio=1.5, most=4.0)
    ours, theirs = zip(*helps, strict=True)
    return [
        Figure(
            "swap to the child's first instruction",
            "s",
            tuple(s.first_instruction for s in starts),
            rival,
            rivals,
        ),
        Figure("swap to in place", "s", tuple(s.in_place for s in starts), rival, rivals, in_place),
        Figure("swap to first answer", "s", tuple(s.first_answer for s in starts), rival, rivals),
        Figure("child's end to restored", "s", tuple(s.restored for s in starts), rival, rivals),
        Figure("child's end to the original's answer", "s", tuple(s.original_answer for s in starts)),
        Figure(
            "resident memory, both ends",
            "MB",
            tuple(s.resident.resident for s in starts),
            limit=Limit(most=120),
        ),
        Figure("the same, shared pages once", "MB", tuple(s.resident.proportional for s in starts)),
        Figure("of it the sidecar's", "MB", tuple(s.resident.pod_resident for s in starts)),
        Figure("--help", "s", ours, "kubectl --help", theirs),
    ]


def _seconds(program: str) -> float:
    began = time.monotonic()
    subprocess.run([program, "--help"], stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - began


def deploy(namespace: Namespace) -> None:
    """The workload that is swapped, and a client of it."""
    workload = Workload(WORKLOAD, container={"command": ["python3", "-c", ORIGINAL]})
    settle(namespace, probe_config_map(), *workload.objects())
    namespace.ensure_customers_pod()


def swap_once(namespace: Namespace, product: Product) -> Start:
    """One swap of the workload and its restore; the cluster is as before on return."""
    with watching(namespace, f"http://{WORKLOAD}/") as watch:
        watch.wait("cluster", time.monotonic() - 1)
        began = time.monotonic()
        child = ("sh", "-c", TELLS, FIRST, *python_probe(product, "http:8080"))
        running = product.start("swap", WORKLOAD, "--", *child, pipe_stdout=True)
        first_instruction = _until_told(running, FIRST) - began
        in_place = _until_told(running, "In place: ") - began
        first_answer = watch.wait("laptop", began) - began
        resident = resident_memory(running, sidecar_pods(namespace, WORKLOAD), namespace)
        assert running.process.stdin is not None
        ended = time.monotonic()
        running.process.stdin.close()
        code = running.wait()
        restored = time.monotonic() - ended
        assert code == 0, running.err
        original_answer = watch.wait("cluster", ended) - ended
    return Start(first_instruction, in_place, first_answer, restored, original_answer, resident)


def run_rival(namespace: Namespace, image: str) -> float:
    """Seconds of `kubectl run` of the sidecar's own image until its pod is Ready."""
    began = time.monotonic()
    namespace.kubectl(
        "run", RIVAL_POD, f"--image={image}", "--image-pull-policy=IfNotPresent", "--restart=Never",
        "--command", "--", "/telepresence-py/bin/python", "-c", PAUSED,
    )  # fmt: skip
    namespace.kubectl("wait", "--for=condition=Ready", f"pod/{RIVAL_POD}", "--timeout=60s", seconds=70)
    taken = time.monotonic() - began
    namespace.kubectl("delete", "pod", RIVAL_POD, "--now", "--wait=true")
    return taken


@dataclass
class Watch:
    """Who answers, as a client in the cluster hears it. Times are those of `time.monotonic`."""

    heard: list[tuple[float, str]] = field(default_factory=list)

    def wait(self, who: str, since: float) -> float:
        """When `who` was heard after `since` for the first time; 60 seconds are waited."""

        def found() -> float | None:
            at = [time for time, name in list(self.heard) if name == who and time > since]
            if not at and self.heard and self.heard[-1][1] == who:
                return since + OFTEN_SECONDS  # it answered before, and does still
            return at[0] if at else None

        return wait_until(found, 60, f"{who} answers", every=OFTEN_SECONDS, seen=lambda: self.heard)


@contextlib.contextmanager
def watching(namespace: Namespace, url: str) -> Iterator[Watch]:
    """A client in the customers' pod asks the URL on and on, each time over a new connection."""
    watch = Watch()
    command = namespace.cluster.kubectl_command(
        "-n", namespace.name, "exec", "customers", "--", "timeout", "300", "python3", "-c", WATCHER, url
    )
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            watch.heard.append((time.monotonic(), line.strip()))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield watch
    finally:
        process.terminate()
        process.wait()
        reader.join()


def _until_told(running: Running, text: str) -> float:
    def told() -> bool:
        assert running.process.poll() is None, running.err
        return text in running.err

    wait_until(told, 90, f"the swap says {text!r}", every=OFTEN_SECONDS, seen=lambda: running.err)
    return time.monotonic()


def server_version(namespace: Namespace) -> str:
    return str(json.loads(namespace.kubectl("get", "--raw", "/version"))["gitVersion"])
