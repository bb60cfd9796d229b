"""The demo: a small shop in a real cluster, and its `orders` swapped with a changed copy on this machine.

Every line tells what was just seen to happen; the first difference from what should have been seen ends the
tour with status 1. Called by scripts/demo, which sets up what it stands on. The tool runs as a plain user,
with the ClusterRole `edit` in the shop's namespace and no other right.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from integration.demo.deploying import NAMESPACE, deploy
from integration.support.cluster import running_own_cluster
from integration.support.namespaces import Namespace, write_kubeconfig
from integration.support.plain_user import PlainUser, plain_user

HERE = Path(__file__).parent
REQUEST = "http://storefront/?item=tea"
SEEN = "http://orders/seen"
AS_DEPLOYED = "sold by orders, as deployed"
AS_CHANGED = "sold by orders, changed on the laptop"
IN_PLACE_SECONDS = 60.0
RESTORED_SECONDS = 60.0
COPIES_OWN = ("program", "host name")
"""What one copy of orders may see otherwise than another."""

NEXT = f"""\
eval "$(integration/cluster/cluster env)"      # kubectl and its kubeconfig
kubectl -n {NAMESPACE} get pods
export PATH="$(scripts/setup)/bin:$PATH"       # telepresence-py
telepresence-py swap orders -n {NAMESPACE} -- bash    # a shell in the pod's place: getent hosts stock; env | grep SHOP
telepresence-py swap orders -n {NAMESPACE} -- python3 integration/demo/shop/orders.py
integration/cluster/cluster down               # takes everything away again"""


class Differs(Exception):
    """Something was seen that should not be, or the other way round; the message says which."""


def expect(holds: bool, claim: str) -> None:
    if not holds:
        raise Differs(f"this should hold and does not: {claim}")


def heading(text: str) -> None:
    print(f"\n== {text}", flush=True)


def show(text: str, indent: str = "   ") -> None:
    for line in text.splitlines():
        print(f"{indent}{line}", flush=True)


@dataclass(frozen=True)
class Developer:
    """Who swaps: a plain user with a kubeconfig and a directory of their own."""

    user: PlainUser
    directory: Path
    kubeconfig: Path

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """telepresence-py with its stderr as a pipe."""
        environment = {
            "HOME": str(self.user.home),
            "USER": self.user.name,
            "PATH": f"{self.user.venv}/bin:/usr/local/bin:/usr/bin:/bin",
            "LANG": os.environ.get("LANG", "C.UTF-8"),
            "KUBECONFIG": str(self.kubeconfig),
        }
        return subprocess.Popen(
            ["telepresence-py", *arguments],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.directory,
            env=environment,
            **self.user.popen_arguments(),  # type: ignore[call-overload]
        )


@contextlib.contextmanager
def developer(shop: Namespace) -> Iterator[Developer]:
    user = plain_user()
    with tempfile.TemporaryDirectory(prefix="demo-", dir=user.runs) as name:
        directory = user.give(Path(name))
        kubeconfig = directory / "kubeconfig"
        write_kubeconfig(kubeconfig, shop.developer_kubeconfig())
        yield Developer(user, directory, user.give(kubeconfig))


def asked(shop: Namespace, url: str) -> str:
    """Make the request inside the cluster and show it with its answer."""
    show(f"{url}  (asked inside the cluster)")
    answer = shop.ask(url).strip()
    show(answer, "   -> ")
    return answer


def changed_copy(directory: Path) -> Path:
    """The shop's program copied to `directory` with one line of orders.py changed; shows the difference."""
    copy = directory / "shop"
    shutil.copytree(HERE / "shop", copy, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (copy, *copy.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
    orders = copy / "orders.py"
    before = orders.read_text()
    expect(before.count(AS_DEPLOYED) == 1, f"orders.py says {AS_DEPLOYED!r} once")
    after = before.replace(AS_DEPLOYED, AS_CHANGED)
    orders.write_text(after)
    for line in difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0):
        if line[0] in "+-" and not line.startswith(("+++", "---")):
            show(line)
    return orders


@contextlib.contextmanager
def swapped(who: Developer, command: Sequence[str]) -> Iterator[None]:
    """`orders` swapped with `command`: "in place" before the body, ended and restored after."""
    words = ["swap", "deployment/orders", "-n", NAMESPACE, "--", *command]
    show("$ telepresence-py " + " ".join(words))
    began = time.monotonic()
    session = who.start(*words)
    in_place, news = threading.Event(), threading.Event()
    reader = threading.Thread(target=follow, args=(session, in_place, news))
    reader.start()
    try:
        news.wait(IN_PLACE_SECONDS)
        expect(in_place.is_set(), f"`swap` says that it is in place within {IN_PLACE_SECONDS:g} s")
        show(f"({time.monotonic() - began:.1f} s)")
        yield
        heading("SIGTERM to telepresence-py: the program ends, the original comes back")
        began = time.monotonic()
        session.send_signal(signal.SIGTERM)
        code = session.wait(RESTORED_SECONDS)
        expect(code == 0, f"`swap` ends with the program's status 0, not {code}")
        show(f"({time.monotonic() - began:.1f} s)")
    finally:
        if session.poll() is None:
            session.terminate()
            session.wait(RESTORED_SECONDS)
        reader.join()


def follow(session: subprocess.Popen[str], in_place: threading.Event, news: threading.Event) -> None:
    """Show what the session says until it ends; `news` is set once it is in place, or never will be."""
    assert session.stderr is not None
    for line in session.stderr:
        show(line, "   | ")
        if "in place" in line:
            in_place.set()
            news.set()
    news.set()


def facts(text: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in text.splitlines())


def compare(pod_saw: dict[str, str], laptop_saw: dict[str, str], program: Path) -> None:
    expect(laptop_saw["program"] == str(program), f"the program that answers is {program}")
    for fact, value in pod_saw.items():
        same = fact in COPIES_OWN or laptop_saw.get(fact) == value
        expect(same, f"{fact} is as the pod saw it, {value!r}, not {laptop_saw.get(fact)!r}")


def tour() -> None:
    began = time.monotonic()
    heading("A shop in the cluster: storefront -> orders -> stock, and Redis")
    shop = deploy(running_own_cluster())
    originals = shop.pods("app=orders")
    show(shop.kubectl("get", "pods"))

    heading("A request, answered by the cluster's orders")
    first = asked(shop, REQUEST)
    expect(first.endswith(AS_DEPLOYED), f"the answer ends in {AS_DEPLOYED!r}")
    pod_saw = facts(shop.ask(SEEN))

    with developer(shop) as who, shop.load(REQUEST, customers=2) as tally:
        heading("A copy of orders on this machine, changed in one line, swapped in by a plain user")
        program = changed_copy(who.directory)
        with swapped(who, ["python3", str(program)]):
            heading("The same request, answered by the program on this machine")
            second = asked(shop, REQUEST)
            expect(second == first.replace(AS_DEPLOYED, AS_CHANGED), "only the changed line differs")
            heading("What that program sees: all that the pod saw")
            compare(pod_saw, facts(asked(shop, SEEN)), program)

        heading("The same request, answered by the cluster's orders again")
        expect(asked(shop, REQUEST) == first, f"the answer is the first one, {first!r}")
        left = [pod["metadata"]["name"] for pod in shop.pods("app=orders")]
        expect(len(left) == len(originals), f"there are as many pods of orders as before, not {left}")
        expect(not [name for name in left if "-tp-" in name], f"no pod of the session is left: {left}")
    expect(not tally.failures, f"every customer was served: {tally.failures[:5]}")
    expect(len(tally.answers) == 2, f"customers heard both copies of orders: {tally.answers}")
    show(f"{tally.requests} customers came meanwhile, and all were served:")
    for answer, count in tally.answers.items():
        show(f"{count:6} x {answer}")
    heading(f"Done in {time.monotonic() - began:.0f} s. The shop is still open; what to try next:")
    show(NEXT)


def main() -> None:
    try:
        tour()
    except Differs as problem:
        print(f"\ndemo: {problem}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
