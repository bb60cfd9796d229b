"""Nothing breaks, whatever dies: no request fails, the original comes back, nothing of ours is left."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from integration.probe.manifests import Workload, probe_config_map
from integration.probe.swapping import Swap, swapped
from integration.probe.town import settle
from integration.support.aftermath import (
    Before,
    assert_no_process_left,
    assert_restored,
    processes_of,
    remember,
    sidecar_pods,
)
from integration.support.namespaces import Namespace
from integration.support.product import Product, process_lives
from integration.support.waiting import wait_until

URL = "http://steady/"
GRACE_SECONDS = 5
CUSTOMERS = 4
CUT_OFF = ("RemoteDisconnected", "ConnectionResetError", "IncompleteRead")
"""What a customer sees whose request the child had accepted and never answered."""


@pytest.fixture(scope="module")
def deployed(town: Namespace) -> Before:
    settle(town, probe_config_map(), *Workload("steady", replicas=2).objects())
    return remember(town, "steady")


@pytest.fixture
def steady(deployed: Before, townsman: Product) -> Iterator[Before]:
    """A workload of two replicas, before every test as it was at first."""
    yield deployed
    townsman.end_all()
    townsman.run("restore", "--all", "--force")
    assert_restored(deployed)


@dataclass(frozen=True)
class Ending:
    """One way to end a swap. `code` is what the CLI ends with, None if it is killed itself.

    `abrupt` ends leave no time to the child: a request that it had accepted, it takes along.
    """

    begin: Callable[[Swap], None]
    code: int | None
    abrupt: bool = True


def leave(swap: Swap) -> None:
    assert swap.probe.carrier.stdin is not None
    swap.probe.carrier.stdin.close()


def signalled(number: signal.Signals) -> int:
    return 128 + number


ENDINGS = {
    "clean exit": Ending(leave, 0, abrupt=False),
    "exit code": Ending(lambda swap: swap.probe.tell("leave", status=3), 3, abrupt=False),
    "crash": Ending(lambda swap: swap.probe.tell("die", signal_name="SIGSEGV"), signalled(signal.SIGSEGV)),
    # the probe dies of what the CLI passes on
    "SIGTERM": Ending(lambda swap: swap.running.send(signal.SIGTERM), signalled(signal.SIGTERM)),
    "SIGHUP": Ending(lambda swap: swap.running.send(signal.SIGHUP), signalled(signal.SIGHUP)),
    "interrupt key": Ending(lambda swap: swap.running.send_group(signal.SIGINT), signalled(signal.SIGINT)),
    "kill -9 of the CLI": Ending(lambda swap: swap.running.send(signal.SIGKILL), None),
    "kill -9 of the group": Ending(lambda swap: swap.running.send_group(signal.SIGKILL), None),
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_no_request_fails_in_swap_and_restore(
    town: Namespace, townsman: Product, steady: Before, ending: Ending
) -> None:
    with town.load(URL, CUSTOMERS) as tally:
        with swapped(townsman, "steady") as swap:
            ending.begin(swap)
            code = swap.running.wait()
        assert_restored(steady)
    if ending.code is not None:
        assert code == ending.code
    assert set(tally.answers) == {"cluster", "laptop"}, "both answered while it lasted"
    taken_along = [failure for failure in tally.failures if any(cut in failure for cut in CUT_OFF)]
    assert [failure for failure in tally.failures if failure not in taken_along] == []
    assert len(taken_along) <= (CUSTOMERS if ending.abrupt else 0), taken_along
    assert_no_process_left(townsman)


@pytest.mark.parametrize("with_the_cli", [True, False])
def test_kill_9_of_the_session_heals_by_itself_after_the_grace_period(
    town: Namespace, products: Callable[..., Product], steady: Before, with_the_cli: bool
) -> None:
    product = products(town)
    with swapped(product, "steady", "--grace", f"{GRACE_SECONDS}s") as swap:
        os.kill(swap.running.session_pid(), signal.SIGKILL)
        if with_the_cli:
            swap.running.send_group(signal.SIGKILL)
        code = swap.running.wait()
    assert with_the_cli or code == 75

    def healed() -> bool:
        ours = [pod for pod in sidecar_pods(town, "steady") if pod["status"]["phase"] == "Running"]
        ready = town.get("deployment", "steady")["status"].get("readyReplicas", 0)
        return not ours and ready == steady.replicas

    wait_until(healed, GRACE_SECONDS + 30, "the originals are back by themselves")
    assert json.loads(town.ask(URL))["who"] == "cluster"
    assert not processes_of(product)
    # finished pods are inert; `restore` and the next run remove them
    assert product.run("restore", "--all").code == 0
    assert_restored(steady)


def test_what_the_child_started_ends_with_it(townsman: Product, steady: Before) -> None:
    """Also what made a session of its own: the pid namespace ends with the swap."""
    with swapped(townsman, "steady") as swap:
        swap.probe.ask("fork", program=f"exec sleep {3600 + os.getpid()}")
        swap.running.send_group(signal.SIGKILL)
        swap.running.wait()
        assert_restored(steady)
    assert_no_process_left(townsman)


def test_a_second_swap_is_refused_and_names_the_holder(
    town: Namespace, townsman: Product, steady: Before
) -> None:
    with swapped(townsman, "steady") as swap:
        refused = townsman.run("swap", "steady", "--", "true")
        assert refused.code == 73
        assert f"{townsman.user.name}@{os.uname().nodename}" in refused.err
        assert json.loads(town.ask(URL))["who"] == "laptop", "the first goes on"
        assert swap.end() == 0
    assert_restored(steady)


def test_two_workloads_are_swapped_side_by_side(town: Namespace, townsman: Product, steady: Before) -> None:
    with swapped(townsman, "target") as one, swapped(townsman, "steady") as other:
        assert one.probe.ask("hostname").startswith("target-")
        assert other.probe.ask("hostname").startswith("steady-")
        answer = one.probe.ask("tcp", host="steady", port=80, send="GET / HTTP/1.0\r\n\r\n")
        assert '"who": "laptop"' in answer["received"], "the one child reaches the other by its Service"
        assert other.end() == 0
        assert one.end() == 0
    assert_restored(steady)


def test_a_workload_that_is_deleted_ends_the_session(namespace: Namespace, product: Product) -> None:
    settle(namespace, probe_config_map(), *Workload("doomed").objects())
    with swapped(product, "doomed") as swap:
        namespace.kubectl("delete", "deployment", "doomed", "--wait=false")
        assert swap.running.wait() == 75
        assert "doomed" in swap.running.err
    wait_until(lambda: not sidecar_pods(namespace, "doomed"), 30, "nothing of ours is left")
    assert_no_process_left(product)


def test_an_interrupted_start_leaves_nothing(town: Namespace, townsman: Product, steady: Before) -> None:
    running = townsman.start("swap", "steady", "--", "sleep", "600")
    wait_until(lambda: sidecar_pods(town, "steady"), 30, "a pod of ours is there", every=0.02)
    running.send_group(signal.SIGINT)
    assert running.wait() == 128 + signal.SIGINT
    assert_restored(steady)
    assert_no_process_left(townsman)


def test_the_session_is_out_of_the_terminals_reach(townsman: Product, steady: Before) -> None:
    with swapped(townsman, "steady") as swap:
        session = swap.running.session_pid()
        assert os.getsid(session) != os.getsid(swap.running.pid)
        assert swap.end() == 0
    wait_until(lambda: not process_lives(session), 5, "the session process has ended")
