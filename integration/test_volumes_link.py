"""A live volume whose link is cut: what is under way waits and goes on, or fails when that takes too long."""

from __future__ import annotations

import contextlib
import hashlib
import select
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from integration.conftest import MakeNamespace
from integration.probe.asking import Probe, ProbeGone
from integration.probe.flowing import BACK, LOST, PATIENCE
from integration.probe.manifests import BASE_IMAGE, RESTRICTED, Object, Workload, config_map, probe_config_map
from integration.probe.pieces import piece
from integration.probe.swapping import Swap
from integration.probe.town import settle
from integration.support.link import Link
from integration.support.namespaces import Namespace
from integration.support.plain_user import PlainUser
from integration.support.product import product_for

PIECES = 512
"""32 MiB: more than is read ahead, or can be on its way."""
HALF = PIECES // 2
PROGRAM = Path(__file__).parent / "probe" / "pieces.py"
WAIT = "import signal; signal.signal(signal.SIGTERM, lambda *_: exit()); signal.pause()"
SCRATCH = {"name": "scratch", "mountPath": "/scratch"}


def holder() -> list[Object]:
    """`holding` with a volume of one file, and a container beside the sidecar's that sees it, too."""
    program = {"name": "pieces", "mountPath": "/pieces"}
    common = {"image": BASE_IMAGE, "volumeMounts": [SCRATCH, program], "securityContext": RESTRICTED}
    fill = ["python3", "/pieces/pieces.py", "fill", "/scratch/from-pod", str(PIECES)]
    helper: Object = {"name": "helper", "command": ["python3", "-c", WAIT], **common}
    pod = {
        "volumes": [
            {"name": "scratch", "emptyDir": {}},
            {"name": "pieces", "configMap": {"name": "pieces"}},
        ],
        "initContainers": [{"name": "filling", "command": fill, **common}],
        "securityContext": {"fsGroup": RESTRICTED["runAsUser"]},
    }
    # without a probe of readiness it is Ready for as long as it runs, however busy the machine is
    container = {"volumeMounts": [SCRATCH]}
    made = Workload("holding", 1, ("echo:7000",), (), pod=pod, container=container, siblings=(helper,))
    return [probe_config_map(), config_map("pieces", {"pieces.py": PROGRAM.read_text()}), made.deployment()]


@pytest.fixture(scope="module")
def place(namespaces: MakeNamespace) -> Namespace:
    namespace = namespaces("volumes-link")
    settle(namespace, *holder())
    return namespace


@dataclass
class Moving:
    """A session behind `link` whose child works on the volume of `pod`."""

    namespace: Namespace
    link: Link
    swap: Swap
    pod: str

    def tell(self, *lines: str) -> None:
        stdin = self.swap.running.process.stdin
        assert stdin is not None
        for line in lines:
            stdin.write(f"{line}\n".encode())
        stdin.flush()

    def hear(self, count: int) -> set[str]:
        heard: set[str] = set()
        try:
            for _ in range(count):
                heard.add(self.swap.probe.read_line(PATIENCE).decode())
        except ProbeGone as gone:
            raise AssertionError(f"{gone}, after {heard}; the session said {self.swap.running.err}") from None
        return heard

    def break_under_way(self, *lines: str) -> None:
        """The link carries nothing any more, then those begin, then it breaks; until the user was told."""
        self.link.stall()
        self.tell(*lines)
        self.link.refuse()
        self.link.cut()
        self.link.go()
        self.swap.running.wait_err(LOST, PATIENCE)

    def nothing_is_over(self) -> bool:
        stdout = self.swap.running.process.stdout
        assert stdout is not None
        return not select.select([stdout], [], [], 0)[0]

    def digest_in_pod(self) -> str:
        """Of what the child wrote, by another container of the sidecar's pod."""
        words = ("exec", self.pod, "-c", "helper", "--", "sha256sum", "/scratch/from-child")
        return self.namespace.kubectl(*words).split()[0]


@contextlib.contextmanager
def moving(place: Namespace, user: PlainUser, grace: str) -> Iterator[Moving]:
    kubeconfig = place.developer_kubeconfig()
    with Link.before_server(kubeconfig) as link, product_for(user, link.through(kubeconfig)) as product:
        program = product.source("integration/probe/pieces.py")
        child = (product.python, program, "serve", "/scratch/from-child", "/scratch/from-pod")
        words = ("run", "--like", "deployment/holding:main", "--name", f"held-{grace}", "--grace", grace)
        running = product.start(*words, "--", *child, pipe_stdout=True)
        held = Moving(place, link, Swap(running, Probe(running.process)), f"pod/held-{grace}")
        assert held.hear(1) == {"ready"}
        yield held


def test_reads_and_writes_wait_for_the_link_and_no_byte_is_lost(
    place: Namespace, user: PlainUser, sidecar_image: None
) -> None:
    with moving(place, user, "60s") as held:
        held.tell(f"write 0 {HALF}")
        assert held.hear(1) == {f"write 0 {HALF} ok"}
        held.break_under_way(f"write {HALF} {PIECES}", f"read {HALF} {PIECES}")
        assert held.nothing_is_over()
        held.link.accept()
        assert held.hear(2) == {f"write {HALF} {PIECES} ok", f"read {HALF} {PIECES} ok"}
        held.swap.running.wait_err(BACK, PATIENCE)
        whole = hashlib.sha256(b"".join(map(piece, range(PIECES)))).hexdigest()
        assert held.digest_in_pod() == whole
        assert held.swap.end() == 0


def test_after_the_grace_period_what_waits_fails_with_eio(
    place: Namespace, user: PlainUser, sidecar_image: None
) -> None:
    with moving(place, user, "2s") as held:
        held.break_under_way(f"write 0 {PIECES}", f"read {HALF} {PIECES}")
        assert held.hear(2) == {f"write 0 {PIECES} EIO", f"read {HALF} {PIECES} EIO"}
        held.tell("read 0 1")
        assert held.hear(1) == {"read 0 1 EIO"}
        held.link.accept()
        held.swap.end()
