"""The demo: a small shop in a real cluster, and its `orders` swapped with a changed copy on this machine.

Every line tells what was just seen to happen; the first difference from what should have been seen ends the
tour with status 1. Called by scripts/demo, which sets up what it stands on.
"""

from __future__ import annotations

import contextlib
import difflib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from integration.demo.shop_cluster import NAMESPACE, Differs, ask, crowd, deploy, pods

HERE = Path(__file__).parent
REQUEST = "http://storefront/?item=tea"
SEEN = "http://orders/seen"
AS_DEPLOYED = "sold by orders, as deployed"
AS_CHANGED = "sold by orders, changed on the laptop"
IN_PLACE_SECONDS = 60.0
RESTORED_SECONDS = 60.0
COPIES_OWN = ("program", "host name")
"""What one copy of orders may see otherwise than another."""


def heading(text: str) -> None:
    print(f"\n== {text}", flush=True)


def show(text: str, indent: str = "   ") -> None:
    for line in text.splitlines():
        print(f"{indent}{line}", flush=True)


def expect(holds: bool, claim: str) -> None:
    if not holds:
        raise Differs(f"this should hold and does not: {claim}")


def asked(url: str) -> str:
    """Make the request inside the cluster and show it with its answer."""
    answer = ask(url)
    show(f"{url}  (asked inside the cluster)")
    show(answer, "   -> ")
    return answer


def changed_copy(directory: Path) -> Path:
    """The shop's program copied to `directory` with one line of orders.py changed; shows the difference."""
    copy = directory / "shop"
    shutil.copytree(HERE / "shop", copy, ignore=shutil.ignore_patterns("__pycache__"))
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
def swapped(cli: list[str], orders: Path) -> Iterator[None]:
    """`orders` swapped with the program at that path: "in place" before the body, restored after."""
    command = ["swap", "deployment/orders", "-n", NAMESPACE, "--", "python3", str(orders)]
    show("$ telepresence-py " + " ".join(command))
    session = subprocess.Popen(
        [*cli, *command], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=orders.parent
    )
    in_place, said = threading.Event(), threading.Event()
    reader = threading.Thread(target=follow, args=(session, in_place, said))
    reader.start()
    try:
        said.wait(IN_PLACE_SECONDS)
        expect(in_place.is_set(), f"`swap` says that it is in place within {IN_PLACE_SECONDS:g} s")
        yield
        heading("SIGTERM to telepresence-py: the program ends, the original comes back")
        session.send_signal(signal.SIGTERM)
        expect(
            session.wait(RESTORED_SECONDS) == 0,
            f"`swap` ends with the program's status 0: {session.returncode}",
        )
    finally:
        if session.poll() is None:
            session.terminate()
            session.wait(RESTORED_SECONDS)
        reader.join()


def follow(session: subprocess.Popen[str], in_place: threading.Event, said: threading.Event) -> None:
    """Show what the session says until it ends; set the events as soon as there is something to know."""
    assert session.stderr is not None
    for line in session.stderr:
        show(line, "   | ")
        if "in place" in line:
            in_place.set()
            said.set()
    said.set()


def facts(text: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in text.splitlines())


def tour(cli: list[str], cache: Path) -> None:
    began = time.monotonic()
    heading("A shop in the cluster: storefront -> orders -> stock, and Redis")
    deploy(cache)
    originals = pods("orders")
    show("\n".join(originals))

    heading("A request, answered by the cluster's orders")
    first = asked(REQUEST)
    expect(first.endswith(AS_DEPLOYED), f"the answer ends in {AS_DEPLOYED!r}")
    pod_saw = facts(ask(SEEN))

    with tempfile.TemporaryDirectory(prefix="telepresence-py-demo-") as directory, crowd(REQUEST) as tally:
        Path(directory).chmod(0o755)
        heading("A copy of orders on this machine, changed in one line, swapped in")
        orders = changed_copy(Path(directory))
        with swapped(cli, orders):
            heading("The same request, answered by the program on this machine")
            second = asked(REQUEST)
            expect(
                second == first.replace(AS_DEPLOYED, AS_CHANGED),
                "the answers differ by the changed line only",
            )
            heading("What that program sees: all that the pod saw")
            laptop_saw = facts(asked(SEEN))
            expect(laptop_saw["program"] == str(orders), f"the program that answers is {orders}")
            for fact, value in pod_saw.items():
                same = fact in COPIES_OWN or laptop_saw[fact] == value
                expect(same, f"{fact} as the pod saw it, {value!r}, not {laptop_saw.get(fact)!r}")

        heading("The same request, answered by the cluster's orders again")
        expect(asked(REQUEST) == first, f"the answer is the first one, {first!r}")
    left = pods("orders")
    expect(len(left) == len(originals), f"as many pods of orders as before, not {left}")
    expect(not [name for name in left if "-tp-" in name], f"no pod of a session is left: {left}")
    expect(not tally.failures, f"no customer was turned away: {tally.failures}")
    show(f"{sum(tally.answers.values())} customers came meanwhile; all were served:")
    for answer, count in tally.answers.items():
        show(f"{count:6} x {answer}")
    heading(f"Done in {time.monotonic() - began:.0f} s. The shop is still open")
    show(NEXT)


NEXT = f"""\
eval "$(integration/cluster/cluster env)"          # kubectl and its kubeconfig
kubectl -n {NAMESPACE} get pods
telepresence-py swap orders -n {NAMESPACE} -- bash   # a shell in the pod's place: getent hosts stock
telepresence-py swap orders -n {NAMESPACE} -- python3 integration/demo/shop/orders.py
integration/cluster/cluster down                   # takes everything away again"""


def main() -> None:
    cache, *cli = sys.argv[1:]
    try:
        tour(cli, Path(cache))
    except Differs as problem:
        print(f"\ndemo: {problem}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
