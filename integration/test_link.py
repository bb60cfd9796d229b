"""The tunnel outlives the link: what is open in both directions waits while it is down, and loses no byte."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from integration.conftest import MakeNamespace
from integration.probe.asking import Probe
from integration.probe.flowing import (
    LISTEN,
    PATIENCE,
    PORTS,
    SPEEDS,
    Linked,
    Session,
    flowing,
    ports,
    session_behind,
    session_of,
)
from integration.probe.manifests import Workload, probe_config_map, service
from integration.probe.town import settle
from integration.support.aftermath import SESSION_LABEL, assert_restored, processes_of, remember, sidecar_pods
from integration.support.cluster import Cluster, KubectlFailed
from integration.support.laptop import laptop_beside, on_the_laptop
from integration.support.link import Link
from integration.support.namespaces import Namespace
from integration.support.plain_user import PlainUser
from integration.support.product import product_for
from integration.support.second_server import second_server
from integration.support.waiting import wait_until
from telepresence_sidecar.contract.heartbeat import INTERVAL, SILENCE

REPLICAS = 3
PRESSING = (64 << 10, 0.0)
MOST_UNDER_WAY = 64 << 20
"""Buffers of kernels and both ends on one connection, as far as they may fill while nobody reads."""
MOST_GROWTH = 48 << 20
"""Of either end's resident memory by connections that want to send on and on."""


@pytest.fixture(scope="module")
def place(namespaces: MakeNamespace) -> Namespace:
    """`linked` and `lone`, to be swapped, and `far`, whom their child talks to and who talks to it."""
    namespace = namespaces("link")
    command = ["python3", "/probe/flow.py", "--stay", *LISTEN]
    far = Workload("far", container={"command": command}, service=False)
    container_ports = tuple({"name": name, "containerPort": port} for name, port in PORTS.items())
    swapped = [
        Workload(name, replicas, ports=container_ports, service=False)
        for name, replicas in (("linked", REPLICAS), ("lone", 1))
    ]
    fronts = [service(name, 80, 8080) for name in ("far", "linked", "lone")]
    for front in fronts:
        front["spec"]["ports"][0]["name"] = "http"
        front["spec"]["ports"] += ports({name: port for name, port in PORTS.items() if name != "http"})
    workloads = [thing for one in (far, *swapped) for thing in one.objects()]
    settle(namespace, probe_config_map(), *fronts, *workloads)
    namespace.ensure_customers_pod()
    return namespace


@pytest.fixture(scope="module")
def linked(place: Namespace, user: PlainUser, sidecar_image: None) -> Iterator[Linked]:
    """One session for the outages that it must outlive."""
    before = remember(place, "linked")
    kubeconfig = place.developer_kubeconfig()
    with Link.before_server(kubeconfig) as link, product_for(user, link.through(kubeconfig)) as product:
        with session_behind(link, place, product, "linked", "--grace", "60s") as linked:
            yield linked
            assert linked.swap.end() == 0
        assert_restored(before)


# -- what comes back in time -----------------------------------------------------------------------------


def test_a_link_that_is_cut_again_and_again_costs_no_byte_and_is_told_once_each_time(linked: Linked) -> None:
    """Of three replicas: one line for all of their links."""
    with flowing(linked) as flows:
        for _ in range(3):
            with linked.outage():
                linked.link.cut()
            flows.wait_move()


def test_a_server_that_is_away_for_a_while_is_waited_for_and_so_is_the_child(linked: Linked) -> None:
    with flowing(linked) as flows:
        with linked.outage():
            linked.break_down()
            flows.open("in-meanwhile", *SPEEDS["trickle"])
            waiting = flows.wait_standstill("in-bulk", "out-bulk")
            assert waiting["in-meanwhile"]["sent"] > 0
            assert waiting["in-meanwhile"]["back"] == 0, "somebody answered for the child"
            linked.link.accept()
        flows.wait_move()


def test_a_black_hole_of_five_seconds_costs_no_byte(linked: Linked) -> None:
    with flowing(linked) as flows:
        linked.link.stall()
        time.sleep(5)  # the fault itself, not a wait
        linked.link.go()
        flows.wait_move()
        wait_until(lambda: len(set(linked.told())) == 1, PATIENCE, "it is told as it ends, if it was told")


def test_a_link_that_carries_nothing_is_noticed_at_both_ends_and_replaced(linked: Linked) -> None:
    """Neither end's connection breaks; each notices by its heartbeat alone."""
    assert SILENCE + INTERVAL <= 10
    with flowing(linked) as flows:
        with linked.outage():
            before = linked.told()[0]
            linked.link.refuse()
            linked.link.strand()
            linked.wait_told_lost(before + 1)
            wait_until(
                lambda: linked.sidecars_that_lost_it() == REPLICAS,
                SILENCE + INTERVAL + PATIENCE,
                "every sidecar misses the laptop",
            )
            linked.link.accept()
        flows.wait_move()
        with linked.outage():
            linked.link.strand()
        flows.wait_move()


def test_a_laptop_that_sleeps_goes_on_where_it_was(linked: Linked) -> None:
    """Longer than the heartbeat's patience, shorter than the grace period."""
    with flowing(linked) as flows:
        asleep = [int(line.partition(":")[0]) for line in processes_of(linked.product)]
        assert {linked.swap.running.pid, linked.swap.running.session_pid()} < set(asleep)
        for pid in asleep:
            os.kill(pid, signal.SIGSTOP)
        try:
            wait_until(
                lambda: linked.sidecars_that_lost_it() == REPLICAS,
                SILENCE + INTERVAL + PATIENCE,
                "every sidecar misses the laptop",
            )
        finally:
            for pid in asleep:
                os.kill(pid, signal.SIGCONT)
        flows.wait_move()
        wait_until(lambda: len(set(linked.told())) == 1, PATIENCE, "it is told as it ends, if it was told")


def test_status_tells_of_each_pod_how_its_link_is(linked: Linked) -> None:
    def links() -> list[dict[str, Any]]:
        told = linked.product.run("status", "--output", "json")
        assert told.code == 0, told.err
        (session,) = json.loads(told.out)
        pods = {pod["metadata"]["name"] for pod in sidecar_pods(linked.namespace, "linked")}
        assert {pod["pod"] for pod in session["pods"]} == pods
        return [pod["link"] for pod in session["pods"]]

    def states() -> set[str]:
        return {link["state"] for link in links()}

    with flowing(linked):
        before = links()
        assert sum(link["connections"] for link in before) >= len(linked.ends), before
        with linked.outage():
            linked.break_down()
            wait_until(lambda: states() == {"down"}, PATIENCE, "it tells that all are down")
            linked.link.accept()
        wait_until(lambda: states() == {"up"}, PATIENCE, "it tells that all are up", seen=links)
        after = links()
        assert all(now["reconnects"] > then["reconnects"] for now, then in zip(after, before, strict=True))
        assert min(link["received"] for link in after) > 0


# -- memory ----------------------------------------------------------------------------------------------


def test_senders_are_held_up_while_the_link_is_down_and_memory_stays_bounded(linked: Linked) -> None:
    with flowing(linked) as flows:
        for direction in linked.ends:
            flows.open(f"{direction}-pressing", *PRESSING)
        pressing = [f"{direction}-pressing" for direction in linked.ends]
        flows.wait_move()
        before = resident(linked)
        with linked.outage():
            linked.break_down()
            held = flows.wait_standstill(*pressing)
            assert {name: held[name] for name in pressing if under_way(held[name]) > MOST_UNDER_WAY} == {}
            now = resident(linked)
            grown = {name: now[name] - before[name] for name in before}
            assert {name: size for name, size in grown.items() if size > MOST_GROWTH} == {}, grown
            linked.link.accept()
        flows.wait_move()
        flows.finish(*pressing)


def test_a_reader_that_stalls_holds_up_its_own_connection_alone(linked: Linked) -> None:
    with flowing(linked) as flows:
        lazy = [f"{direction}-lazy" for direction in linked.ends]
        for name in lazy:
            flows.open(name, *PRESSING, port=PORTS["lazy"])
        held = flows.wait_standstill(*lazy)
        assert {name: held[name] for name in lazy if under_way(held[name]) > MOST_UNDER_WAY} == {}
        flows.wait_move(*(name for name in flows.names if name not in lazy))
        linked.outside.ask("connect", host="127.0.0.1", port=PORTS["read"])
        linked.swap.probe.ask("read")
        flows.wait_move()
        flows.finish(*lazy)


def under_way(flow: dict[str, Any]) -> int:
    return int(flow["sent"]) - int(flow["back"])


def resident(linked: Session) -> dict[str, int]:
    """Bytes of the session process and of each sidecar, which is the first process of its container."""
    sizes = {"session": _resident(Path(f"/proc/{linked.swap.running.session_pid()}/status").read_text())}
    show = "print(open('/proc/1/status').read())"
    for pod in sidecar_pods(linked.namespace, "linked"):
        name = pod["metadata"]["name"]
        words = ("exec", name, "-c", "main", "--", "/telepresence-py/bin/python", "-I", "-c", show)
        sizes[name] = _resident(linked.namespace.kubectl(*words))
    return sizes


def _resident(status: str) -> int:
    found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    assert found is not None, status
    return int(found[1]) << 10


# -- sessions of their own -------------------------------------------------------------------------------


@pytest.mark.own_cluster
def test_a_restart_of_the_api_server_costs_no_byte(
    cluster: Cluster, place: Namespace, user: PlainUser, sidecar_image: None
) -> None:
    before = remember(place, "lone")
    kubeconfig = place.developer_kubeconfig()
    with contextlib.ExitStack() as server:
        kubeconfig["clusters"][0]["cluster"]["server"] = server.enter_context(second_server(cluster))
        with Link.before_server(kubeconfig) as link, product_for(user, link.through(kubeconfig)) as product:
            with session_behind(link, place, product, "lone", "--grace", "5m") as linked:
                with flowing(linked) as flows:
                    with linked.outage():
                        server.close()
                        linked.wait_told_lost(1)
                        server.enter_context(second_server(cluster))
                    flows.wait_move()
                assert linked.swap.end() == 0
            assert_restored(before)


@pytest.mark.own_cluster
def test_a_laptop_that_moves_to_another_address_costs_no_byte(
    place: Namespace, user: PlainUser, sidecar_image: None
) -> None:
    """Nobody tells anybody that the old address is gone: both ends notice by their heartbeat."""
    before = remember(place, "lone")
    kubeconfig = place.developer_kubeconfig()
    server = urlsplit(kubeconfig["clusters"][0]["cluster"]["server"]).hostname
    assert server is not None
    wire = server.rpartition(".")[0]
    with laptop_beside(server, f"{wire}.201/24", f"{wire}.202/24") as move:
        with product_for(on_the_laptop(user), kubeconfig) as product:
            with session_of(place, product, "lone", "--grace", "60s") as session:
                with flowing(session) as flows:
                    with session.outage():
                        move()
                    flows.wait_move()
                assert session.swap.end() == 0
        assert_restored(before)


def test_after_the_grace_period_the_same_child_is_in_place_again_as_soon_as_the_link_is_back(
    place: Namespace, user: PlainUser, sidecar_image: None
) -> None:
    before = remember(place, "lone")
    kubeconfig = place.developer_kubeconfig()
    with Link.before_server(kubeconfig) as link, product_for(user, link.through(kubeconfig)) as product:
        with session_behind(link, place, product, "lone", "--grace", "5s") as linked:
            linked.link.refuse()
            linked.link.strand()  # also the watch of the pods, which nobody tells that it is dead
            wait_until(lambda: who_answers(place) == "cluster", 2 * PATIENCE, "an original answers")
            linked.swap.running.wait_err(r"the command lives on", 2 * PATIENCE)
            link.accept()
            wait_until(lambda: who_answers(place) == "laptop", 2 * PATIENCE, "the child answers again")
            wait_until(lambda: not originals(place), PATIENCE, "the original has ended")
            with flowing(linked) as flows:
                flows.wait_move()
            assert linked.swap.end() == 0
        assert_restored(before)


def test_after_the_grace_period_connections_end_and_the_originals_are_back(
    place: Namespace, user: PlainUser, sidecar_image: None
) -> None:
    before = remember(place, "lone")
    kubeconfig = place.developer_kubeconfig()
    with Link.before_server(kubeconfig) as link, product_for(user, link.through(kubeconfig)) as product:
        with session_behind(link, place, product, "lone", "--grace", "5s", "--on-lost", "exit") as linked:
            for opener, host in linked.ends.values():
                opener.ask("open", flow="held", host=host, port=PORTS["echo"], size=100, per_second=20)
            try:
                linked.break_down()
                for opener, _ in linked.ends.values():
                    wait_until(partial(was_cut_off, opener), PATIENCE, "both connections end")
                wait_until(lambda: who_answers(place) == "cluster", PATIENCE, "an original answers")
                linked.swap.running.wait_err(r"Restoring waits", 2 * PATIENCE)
            finally:
                link.accept()
            assert linked.swap.running.wait(PATIENCE) == 75
            assert "the link was lost for longer than the grace period" in linked.swap.running.err
        assert product.run("restore", "--all").code == 0
    assert_restored(before)


def was_cut_off(opener: Probe) -> bool:
    return bool(opener.ask("look")["held"]["wrong"])


def originals(place: Namespace) -> list[str]:
    """Also those that are ending: customers still come to them."""
    pods = place.pods("app=lone")
    return [pod["metadata"]["name"] for pod in pods if SESSION_LABEL not in pod["metadata"]["labels"]]


def who_answers(place: Namespace) -> str:
    with contextlib.suppress(KubectlFailed):
        return str(json.loads(place.ask("http://lone/"))["who"])
    return ""
