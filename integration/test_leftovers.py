"""What a dead session left can be seen, and put back, from any machine."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator

import pytest

from integration.probe.manifests import Workload, probe_config_map
from integration.probe.swapping import swapped
from integration.probe.town import settle
from integration.support.aftermath import Before, assert_restored, remember
from integration.support.namespaces import Namespace
from integration.support.product import Product
from integration.support.waiting import wait_until

MakeProduct = Callable[..., Product]


@pytest.fixture(scope="module")
def stranded(town: Namespace) -> Before:
    settle(town, probe_config_map(), *Workload("stranded").objects())
    return remember(town, "stranded")


@pytest.fixture
def own(products: MakeProduct, town: Namespace, stranded: Before) -> Iterator[Product]:
    """A product of the test's own, as a killed session leaves its record in the runtime directory."""
    product = products(town)
    yield product
    product.end_all()
    product.run("restore", "--all", "--force")
    assert_restored(stranded)


def strand(product: Product, grace: str = "10m") -> None:
    """Swap, and kill CLI and session; return once the sidecar has noticed, which then waits for `grace`."""
    with swapped(product, "stranded", "--grace", grace) as swap:
        session = swap.running.session_pid()
        os.kill(session, signal.SIGKILL)
        swap.running.send_group(signal.SIGKILL)
        swap.running.wait()
    wait_until(lambda: "live" not in states(product).values(), 15, "the sidecar misses its session")


def states(product: Product) -> dict[str, str]:
    """What `list` says of the sidecar pods in the namespace: workload and state."""
    told = product.run("list", "--output", "json")
    assert told.code == 0, told.err
    return {pod["workload"]: pod["state"] for pod in json.loads(told.out)["pods"]}


def sessions(product: Product) -> list[str]:
    """What `list` says of the sessions on this machine: their workloads."""
    told = product.run("list", "--output", "json")
    return [session["workload"] for session in json.loads(told.out)["sessions"]]


def test_list_tells_a_session_of_this_machine(own: Product) -> None:
    with swapped(own, "stranded") as swap:
        assert sessions(own) == ["deployment/stranded"]
        assert states(own)["deployment/stranded"] == "live"
        table = own.run("list")
        assert "deployment/stranded" in table.out
        assert own.user.name in table.out
        assert swap.end() == 0
    assert sessions(own) == []
    assert "deployment/stranded" not in states(own)


def test_what_a_dead_session_left_is_restored_from_another_machine(
    own: Product, town: Namespace, products: MakeProduct, stranded: Before
) -> None:
    """Another runtime directory knows nothing of the session: the cluster alone tells."""
    strand(own)
    colleague = products(town)
    assert sessions(colleague) == []
    assert states(colleague) == {"deployment/stranded": "dead"}
    restored = colleague.run("restore", "deployment/stranded")
    assert restored.code == 0, restored.err
    assert_restored(stranded)
    assert json.loads(town.ask("http://stranded/"))["who"] == "cluster"


def test_restore_all_puts_back_what_is_dead_and_spares_what_lives(
    own: Product, town: Namespace, stranded: Before
) -> None:
    strand(own)
    with swapped(own, "target") as alive:
        assert own.run("restore", "--all").code == 0
        assert_restored(stranded)
        assert states(own) == {"deployment/target": "live"}
        assert json.loads(town.ask("http://target/"))["who"] == "laptop"
        assert alive.end() == 0


def test_the_next_swap_takes_the_place_of_a_finished_one(own: Product, town: Namespace) -> None:
    strand(own, grace="5s")
    wait_until(lambda: set(states(own).values()) == {"finished"}, 30, "the sidecar ended by itself")
    town.wait_rolled_out("stranded")
    with swapped(own, "stranded") as again:
        assert json.loads(town.ask("http://stranded/"))["who"] == "laptop"
        assert again.end() == 0


def test_a_live_session_is_restored_by_force_alone(
    own: Product, town: Namespace, products: MakeProduct, stranded: Before
) -> None:
    colleague = products(town)
    with swapped(own, "stranded") as swap:
        refused = colleague.run("restore", "stranded")
        assert refused.code == 73
        assert own.user.name in refused.err
        assert json.loads(town.ask("http://stranded/"))["who"] == "laptop"
        forced = colleague.run("restore", "stranded", "--force")
        assert forced.code == 0, forced.err
        assert swap.running.wait() == 75
    assert_restored(stranded)


def test_restore_where_nothing_is_to_do_says_so(own: Product) -> None:
    for arguments in (["--all"], ["stranded"]):
        told = own.run("restore", *arguments)
        assert told.code == 0
        assert "nothing to restore" in told.err


def test_restore_of_what_is_not_there_names_the_nearest(own: Product) -> None:
    told = own.run("restore", "strandet")
    assert told.code == 66
    assert "stranded" in told.err
