"""The demo: a small shop in a real cluster, and its `orders` swapped with a changed copy on this machine.

Every line tells what was just seen to happen; the first difference from what should have been seen ends the
tour with status 1. Called by scripts/demo, which sets up what it stands on. The tool runs as a plain user,
with the ClusterRole `edit` in the shop's namespace and no other right.
"""

from __future__ import annotations

import contextlib
import difflib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from integration.demo.deploying import NAMESPACE, deploy
from integration.support.cluster import KubectlFailed, running_own_cluster
from integration.support.namespaces import Namespace
from integration.support.plain_user import plain_user
from integration.support.product import Product, product_for

HERE = Path(__file__).parent
REQUEST = "http://storefront/?item=tea"
SEEN = "http://orders/seen"
AS_DEPLOYED = "sold by orders, as deployed"
AS_CHANGED = "sold by orders, changed on the laptop"
COPIES_OWN = ("program", "host name")
"""What one copy of orders may see otherwise than another."""

NEXT = f"""\
eval "$(integration/cluster/cluster env)"      # kubectl and its kubeconfig
kubectl -n {NAMESPACE} get pods
export PATH="$(scripts/setup)/bin:$PATH"       # telepresence-py
telepresence-py swap orders -n {NAMESPACE} -- bash   # a shell in the pod's place; try: getent hosts stock
telepresence-py swap orders -n {NAMESPACE} -- python3 integration/demo/shop/orders.py
integration/cluster/cluster down               # takes everything away again"""


class Differs(AssertionError):
    """Something was seen that should not be, or the other way round; the message says which."""


def expect(holds: bool, claim: str) -> None:
    if not holds:
        raise Differs(f"this should hold and does not: {claim}")


def heading(text: str) -> None:
    print(f"\n== {text}", flush=True)


def show(text: str, indent: str = "   ") -> None:
    for line in text.splitlines():
        print(f"{indent}{line}", flush=True)


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
def swapped(product: Product, *command: str) -> Iterator[None]:
    """`orders` swapped with `command`: "in place" before the body, ended and restored after."""
    words = ["swap", "deployment/orders", "-n", NAMESPACE, "--", *command]
    show("$ telepresence-py " + " ".join(words))
    began = time.monotonic()
    running = product.start(*words)
    running.wait_in_place()
    said = running.err
    show(said, "   | ")
    show(f"({time.monotonic() - began:.1f} s)")
    yield
    heading("SIGTERM to telepresence-py: the program ends, the original comes back")
    began = time.monotonic()
    running.send(signal.SIGTERM)
    code = running.wait()
    show(running.err.removeprefix(said), "   | ")
    show(f"({time.monotonic() - began:.1f} s)")
    expect(code == 0, f"`swap` ends with the program's status 0, not {code}")


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

    developer = product_for(plain_user(), shop.developer_kubeconfig())
    with developer as product, shop.load(REQUEST, customers=2) as tally:
        heading("A copy of orders on this machine, changed in one line, swapped in by a plain user")
        program = changed_copy(product.directory)
        with swapped(product, "python3", str(program)):
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
    except (AssertionError, KubectlFailed, subprocess.SubprocessError) as problem:
        print(f"\ndemo: {problem}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
