"""The shop in the project's own cluster: its image, its objects, requests and customers inside."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
CLUSTER = HERE.parent / "cluster" / "cluster"
LOAD = HERE.parent / "probe" / "load.py"
NAMESPACE = "shop"
SERVICES = ("database", "stock", "orders", "storefront")
IMAGE_IN_MANIFEST = "localhost/telepresence-py-demo-shop:1"
ASK = """\
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], timeout=20).read().decode().strip())
"""


class Differs(Exception):
    """Something was seen that should not be, or the other way round; the message says which."""


@dataclass
class Tally:
    """How many customers got which answer, and what happened to those who got none."""

    answers: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


def run(*command: str, stdin: str | None = None, seconds: float = 120) -> str:
    """Run to its end and return its stdout; Differs, with its stderr, when it fails."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=seconds, check=False)
    if done.returncode:
        raise Differs(
            f"`{' '.join(command)[:200]}` ended with {done.returncode}: {done.stderr.strip()[-2000:]}"
        )
    return done.stdout


def kubectl(*arguments: str, stdin: str | None = None, seconds: float = 120) -> str:
    """kubectl in the shop's namespace; which cluster, the caller's KUBECONFIG says."""
    return run("kubectl", "--namespace", NAMESPACE, *arguments, stdin=stdin, seconds=seconds)


def image_archive(cache: Path) -> tuple[str, Path]:
    """The shop's image as (reference, archive), built unless `cache` has one made of the same files."""
    parts = [HERE / "Dockerfile", *sorted((HERE / "shop").glob("*.py"))]
    content = hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()[:12]
    reference = f"{IMAGE_IN_MANIFEST.rpartition(':')[0]}:{content}"
    archive = cache / f"shop-{content}.tar"
    if not archive.exists():
        cache.mkdir(parents=True, exist_ok=True)
        for stale in cache.glob("shop-*.tar"):
            stale.unlink()
        run(str(CLUSTER), "build-image", reference, str(HERE / "Dockerfile"), str(HERE), seconds=600)
        unfinished = archive.with_suffix(".new")
        run(str(CLUSTER), "save-image", reference, str(unfinished))
        unfinished.rename(archive)
    return reference, archive


def deploy(cache: Path) -> None:
    """Bring the shop to its declared state and wait until every service of it is rolled out."""
    reference, archive = image_archive(cache)
    run(str(CLUSTER), "load", str(archive), seconds=300)
    manifest = (HERE / "shop.yaml").read_text().replace(IMAGE_IN_MANIFEST, reference)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    kubectl("apply", "-f", "-", stdin=json.dumps(namespace))
    kubectl("apply", "-f", "-", stdin=manifest)
    for service in SERVICES:
        kubectl("rollout", "status", f"deployment/{service}", "--timeout=120s")


def ask(url: str) -> str:
    """The answer to a request made inside the cluster, by a pod of the storefront."""
    return kubectl("exec", "deployment/storefront", "--", "python3", "-c", ASK, url).strip()


def pods(app: str) -> list[str]:
    """Names of the pods that count as `app`'s, finished and leaving ones too."""
    return sorted(kubectl("get", "pods", "-l", f"app={app}", "-o", "name").split())


@contextlib.contextmanager
def crowd(url: str) -> Iterator[Tally]:
    """Customers inside the cluster who ask `url` on and on; their tally is complete after the end."""
    tally = Tally()
    command = ["kubectl", "--namespace", NAMESPACE, "exec", "--stdin", "deployment/storefront", "--"]
    asking = subprocess.Popen(
        [*command, "python3", "-c", LOAD.read_text(), url, "2", "0.05"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # ^C at the demo is for the demo, which then ends them
        env=os.environ,
    )
    with asking:
        assert asking.stdout is not None
        if asking.stdout.readline() != "started\n":
            raise Differs("the customers did not start")
        yield tally
        said, _ = asking.communicate(timeout=90)
        counted = json.loads(said.splitlines()[-1])
        tally.answers, tally.failures = counted["answers"], counted["failures"]
