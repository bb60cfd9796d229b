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
from integration.support.aftermath import Before, assert_restored, remember, sidecar_pods
from integration.support.namespaces import Namespace
from integration.support.product import Product
from integration.support.waiting import wait_until

MakeProduct = Callable[..., Product]


@pytest.fixture(scope="module")
def stranded(town: Namespace) -> Before:
    settle(town, probe_config_map(), *Workload("stranded").objects())
    return remember(town, "stranded")


@pytest.fixture
def dead_session(town: Namespace, townsman: Product, stranded: Before) -> Iterator[Product]:
    """A swap whose CLI and session were killed; its sidecar would wait ten minutes."""
    with swapped(townsman, "stranded", "--grace", "10m") as swap:
        session = swap.running.session_pid()
        os.kill(session, signal.SIGKILL)
        swap.running.send_group(signal.SIGKILL)
        swap.running.wait()
    yield townsman
    assert_restored(stranded)


def listed(product: Product) -> str:
    told = product.run("list", "--output", "json")
    assert told.code == 0, told.err
    json.loads(told.out)
    return told.out


def test_list_tells_a_session_of_this_machine(townsman: Product, stranded: Before) -> None:
    with swapped(townsman, "stranded") as swap:
        assert "deployment/stranded" in listed(townsman)
        table = townsman.run("list")
        assert "deployment/stranded" in table.out
        assert townsman.user.name in table.out
        assert swap.end() == 0
    assert "deployment/stranded" not in listed(townsman)
    assert_restored(stranded)


def test_list_and_restore_work_from_another_machine(
    dead_session: Product, town: Namespace, products: MakeProduct, stranded: Before
) -> None:
    """Another runtime directory knows nothing of the session: the cluster alone tells."""
    colleague = products(town)
    assert "deployment/stranded" in listed(colleague)
    restored = colleague.run("restore", "deployment/stranded")
    assert restored.code == 0, restored.err
    assert_restored(stranded)
    assert json.loads(town.ask("http://stranded/"))["who"] == "cluster"


def test_restore_all_puts_back_what_is_dead_and_spares_what_lives(
    dead_session: Product, town: Namespace, stranded: Before
) -> None:
    with swapped(dead_session, "target") as alive:
        assert dead_session.run("restore", "--all").code == 0
        assert_restored(stranded)
        assert [pod["metadata"]["labels"]["app"] for pod in sidecar_pods(town)] == ["target"]
        assert json.loads(town.ask("http://target/"))["who"] == "laptop"
        assert alive.end() == 0


def test_the_next_swap_takes_the_place_of_a_finished_one(
    town: Namespace, townsman: Product, stranded: Before
) -> None:
    with swapped(townsman, "stranded", "--grace", "1s") as swap:
        os.kill(swap.running.session_pid(), signal.SIGKILL)
        swap.running.send_group(signal.SIGKILL)
        swap.running.wait()
    wait_until(
        lambda: all(
            pod["status"]["phase"] in ("Succeeded", "Failed") for pod in sidecar_pods(town, "stranded")
        ),
        30,
        "the sidecar missed its session and ended",
    )
    town.wait_rolled_out("stranded")
    with swapped(townsman, "stranded") as again:
        assert json.loads(town.ask("http://stranded/"))["who"] == "laptop"
        assert again.end() == 0
    assert_restored(stranded)


def test_a_live_session_is_restored_by_force_alone(
    town: Namespace, townsman: Product, products: MakeProduct, stranded: Before
) -> None:
    colleague = products(town)
    with swapped(townsman, "stranded") as swap:
        refused = colleague.run("restore", "stranded")
        assert refused.code == 73
        assert townsman.user.name in refused.err
        assert json.loads(town.ask("http://stranded/"))["who"] == "laptop"
        forced = colleague.run("restore", "stranded", "--force")
        assert forced.code == 0, forced.err
        assert swap.running.wait() == 75
    assert_restored(stranded)


def test_restore_of_nothing_says_so(townsman: Product, stranded: Before) -> None:
    told = townsman.run("restore", "--all")
    assert told.code == 0
    assert townsman.run("restore", "nobody").code == 66
