"""`--method docker`: where plain users may not make user namespaces, all that `userns` promises."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.probe.in_the_pods_place import (
    assert_addresses_names_and_files,
    assert_connect_tells_the_truth,
    assert_the_child_answers,
)
from integration.probe.swapping import Swap, python_probe, swapped
from integration.probe.town import peers, settle, target
from integration.support.aftermath import assert_no_process_left, assert_restored, remember
from integration.support.cluster import Cluster
from integration.support.docker import DockerProduct, docker_product
from integration.support.namespaces import Namespace
from integration.support.product import Product
from integration.support.programs import Need
from integration.support.waiting import wait_until

AGENT = b"telepresence_py.isolation.agent"

SESSION = """
import os, trio
from telepresence_py.isolation import enter
from telepresence_py.model.world import NetworkView

async def main():
    async with enter(NetworkView("orders", ("192.0.2.1",)), lambda event: None, asked="docker") as world:
        print("stands", os.getpid(), flush=True)
        await world.lost.wait()
        print("lost", flush=True)

trio.run(main)
"""


@pytest.fixture(scope="module")
def refused(townsman: Product, cluster: Cluster, need: Need) -> Iterator[DockerProduct]:
    """The product where the kernel refuses, and docker is there for its user."""
    with docker_product(townsman, cluster, need) as product:
        yield product


@pytest.fixture(scope="module")
def helped(town: Namespace, refused: DockerProduct) -> Iterator[Swap]:
    settle(town, *peers(), *target("helped"))
    before = remember(town, "helped")
    child = python_probe(refused, "http:8080")
    with swapped(refused, "helped", "--method", "docker", child=child) as swap:
        yield swap
        assert swap.end() == 0
    assert_restored(before)
    assert_no_process_left(refused)
    refused.wait_no_container()


def agents(product: Product) -> set[int]:
    """Namespace agents of that session's, seen by where they meet it."""
    place = str(product.directory).encode()
    pids = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
    return {pid for pid in pids if AGENT in command_of(pid) and place in command_of(pid)}


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_where_the_kernel_refuses_docker_is_offered_and_never_taken_unasked(refused: DockerProduct) -> None:
    ended = refused.run("run", "--", "true")
    assert ended.code == 78
    assert "making a user namespace failed" in ended.err
    assert "--method docker, which" in ended.err
    assert refused.containers() == []


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("tcp://192.0.2.1:2375", "which may be another machine"),
        ("unix:///nowhere/docker.sock", "no daemon of docker's answers at /nowhere/docker.sock"),
    ],
)
def test_a_daemon_that_is_not_here_is_refused_by_a_sentence(
    refused: DockerProduct, address: str, said: str
) -> None:
    ended = refused.run("run", "--method", "docker", "--", "true", environment={"DOCKER_HOST": address})
    assert ended.code == 78
    assert said in ended.err
    assert "Connected to " not in ended.err


def test_who_may_not_use_the_daemon_is_told_how_root_can_let_him(refused: DockerProduct) -> None:
    refused.docker_socket.chmod(0o600)
    try:
        ended = refused.run("run", "--method", "docker", "--", "true")
    finally:
        refused.docker_socket.chmod(0o660)
    assert ended.code == 78
    assert f"usermod -aG docker {refused.user.name}" in ended.err


def test_the_child_is_the_user_and_has_no_right_but_those_of_any_user(
    helped: Swap, refused: DockerProduct
) -> None:
    seen = helped.probe.ask("process")
    assert (seen["uid"], seen["gid"]) == (refused.user.uid, refused.user.gid)
    assert int(seen["capabilities"], 16) == 0


def test_what_has_the_right_is_told_beforehand_and_nothing_outside_keeps_it(
    helped: Swap, refused: DockerProduct
) -> None:
    told, _, after = helped.running.err.partition("Connected to ")
    assert "CAP_SYS_ADMIN" in told
    assert "(--method docker)" in after
    outside = os.readlink("/proc/self/ns/user")
    programs = agents(refused)
    assert programs
    assert outside not in [os.readlink(f"/proc/{pid}/ns/user") for pid in programs]
    assert len(refused.containers()) == 1


def test_connect_tells_the_truth(helped: Swap, town: Namespace) -> None:
    assert_connect_tells_the_truth(helped, town)


def test_addresses_names_and_files_are_the_pods(helped: Swap, town: Namespace) -> None:
    assert_addresses_names_and_files(helped, town, "helped")


def test_a_request_to_the_service_is_answered_by_the_child(helped: Swap, town: Namespace) -> None:
    assert_the_child_answers(town, "helped")


def test_when_a_session_is_killed_neither_container_nor_process_is_left(refused: DockerProduct) -> None:
    others, containers = agents(refused), set(refused.containers())
    running = refused.start_command([refused.python, "-c", SESSION])
    pid = int(running.wait_out(r"^stands (\d+)$")[1])
    begun = agents(refused) - others
    assert begun
    assert set(refused.containers()) > containers
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not begun & agents(refused), 20, "every agent has ended")
    wait_until(lambda: set(refused.containers()) == containers, 30, "docker removed the helper")


def test_who_stops_the_helper_ends_what_it_began(refused: DockerProduct) -> None:
    others = set(refused.containers())
    running = refused.start_command([refused.python, "-c", SESSION])
    running.wait_out(r"^stands")
    (helper,) = set(refused.containers()) - others
    refused.docker("stop", "--time", "3000", helper)
    running.wait_out(r"^lost$")
    assert running.wait() == 0
