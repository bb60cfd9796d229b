"""`--method sudo`: where plain users may not make user namespaces, all that `userns` promises."""

from __future__ import annotations

import os
import re
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
from integration.support.namespaces import Namespace
from integration.support.plain_user import GROUND
from integration.support.product import Product
from integration.support.programs import Need
from integration.support.refused_product import RefusedProduct, refused_product
from integration.support.waiting import wait_until

AGENT = b"telepresence_py.isolation.agent\0000\0raised"
RULE = Path("/etc/sudoers.d") / f"telepresence-py-test-{GROUND.name}"

SESSION = """
import trio
from telepresence_py.isolation import enter
from telepresence_py.model.world import NetworkView

async def main():
    async with enter(NetworkView("orders", ("192.0.2.1",)), lambda event: None, asked="sudo"):
        print("stands", flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


@pytest.fixture(scope="module")
def refused(townsman: Product, cluster: Cluster, need: Need) -> Iterator[RefusedProduct]:
    """The product where the kernel refuses, sudo installed, and no rule that lets the user anything."""
    if os.geteuid() != 0 or not cluster.is_own:
        pytest.skip("sudo and its rules are changed on the project's own machine alone")
    need("sudo")
    RULE.unlink(missing_ok=True)
    product = refused_product(townsman)
    yield product
    product.end_all()


@pytest.fixture(scope="module")
def rule(refused: RefusedProduct) -> Iterator[str]:
    """The line that the refusal names, for as long as the tests last."""
    ended = refused.run("run", "--method", "sudo", "--", "true")
    assert ended.code == 78, ended.err
    assert "a password is required" in ended.err
    found = re.search(r"^ *(\S+ ALL=\(root\) NOPASSWD: .*)$", ended.err, re.MULTILINE)
    assert found, ended.err
    try:
        RULE.touch(mode=0o440)
        RULE.write_text(found[1] + "\n")
        yield found[1]
    finally:
        RULE.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def raised(town: Namespace, refused: RefusedProduct, rule: str) -> Iterator[Swap]:
    settle(town, *peers(), *target("raised"))
    before = remember(town, "raised")
    child = python_probe(refused, "http:8080")
    with swapped(refused, "raised", "--method", "sudo", child=child) as swap:
        yield swap
        assert swap.end() == 0
    assert_restored(before)
    assert_no_process_left(refused)


def raised_programs(product: Product) -> set[int]:
    """sudo and what it started for this user's virtual environment, of all sessions."""
    pids = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
    python = f"{product.user.venv}/bin/".encode()
    return {pid for pid in pids if python in command_of(pid) and AGENT in command_of(pid)}


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_where_the_kernel_refuses_sudo_is_offered_and_never_taken_unasked(
    refused: RefusedProduct, rule: str
) -> None:
    ended = refused.run("run", "--", "true")
    assert ended.code == 78
    assert "making a user namespace failed" in ended.err
    assert "take --method sudo, which" in ended.err


def test_the_child_is_the_user_and_has_no_right_but_those_of_any_user(
    raised: Swap, refused: RefusedProduct
) -> None:
    seen = raised.probe.ask("process")
    assert (seen["uid"], seen["gid"]) == (refused.user.uid, refused.user.gid)
    assert int(seen["capabilities"], 16) == 0


def test_what_has_the_right_is_told_beforehand_and_nothing_outside_keeps_it(
    raised: Swap, refused: RefusedProduct
) -> None:
    told, _, after = raised.running.err.partition("Connected to ")
    assert "CAP_SYS_ADMIN" in told
    assert "(--method sudo)" in after
    outside = os.readlink("/proc/self/ns/user")
    programs = [pid for pid in raised_programs(refused) if b"sudo" not in command_of(pid)]
    assert programs
    assert outside not in [os.readlink(f"/proc/{pid}/ns/user") for pid in programs]


def test_connect_tells_the_truth(raised: Swap, town: Namespace) -> None:
    assert_connect_tells_the_truth(raised, town)


def test_addresses_names_and_files_are_the_pods(raised: Swap, town: Namespace) -> None:
    assert_addresses_names_and_files(raised, town, "raised")


def test_a_request_to_the_service_is_answered_by_the_child(raised: Swap, town: Namespace) -> None:
    assert_the_child_answers(town, "raised")


def test_when_a_session_is_killed_what_sudo_began_ends(townsman: Product, rule: str) -> None:
    others = raised_programs(townsman)
    session = townsman.start_command([townsman.python, "-c", SESSION])
    session.wait_out("stands")
    begun = raised_programs(townsman) - others
    assert begun
    session.process.kill()
    wait_until(lambda: not begun & raised_programs(townsman), 20, "all of it has ended")
