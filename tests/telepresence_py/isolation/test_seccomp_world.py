"""The method "seccomp": the doors that stand in the child's world, and what the CLI is told of them."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
import trio

from telepresence_py.isolation import proxy, seccomp
from telepresence_py.isolation.facts import HostFacts
from telepresence_py.isolation.proxy import ROOT, BesideCli
from telepresence_py.isolation.refusals import explain
from telepresence_py.isolation.seccomp import RESOLV_CONF
from telepresence_py.isolation.steps import StepRefused
from telepresence_py.model.world import NetworkView
from telepresence_py.process.call_words import Doors

POD_RESOLVER = b"search shop.svc.cluster.local svc.cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"
VIEW = NetworkView("orders", ("10.1.2.3",), files={RESOLV_CONF: POD_RESOLVER}, volume_paths=("/data",))
FACTS = HostFacts("linux", "6.8.0", 1000)


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def in_world(test: Callable[[BesideCli], Awaitable[None]]) -> None:
    async def main() -> None:
        with trio.fail_after(20):
            async with seccomp.around(proxy.enter(VIEW, lambda _text: None), VIEW) as world:
                await test(world)

    trio.run(main)


def test_the_cli_is_told_of_every_door_and_of_the_pods_resolver() -> None:
    async def test(world: BesideCli) -> None:
        doors = Doors.decode(os.pread(world.namespaces["calls"], 1 << 16, 0))
        for told, there in (
            (doors.truthful, world.proxies),
            (doors.fast, world.fast_proxies),
            (doors.names, world.name_doors),
        ):
            assert list(told.values()) == [door.getsockname()[1] for door in there]
        assert (doors.secret, doors.pod_server, doors.families) == (world.proxy_secret, "10.96.0.10", ["4"])
        assert "/run/nscd" in doors.hidden

    in_world(test)


def test_the_child_is_told_of_no_proxy_but_of_the_pods_search_path() -> None:
    async def test(world: BesideCli) -> None:
        assert world.variables.keys() == {ROOT, "LOCALDOMAIN", "RES_OPTIONS"}
        assert world.variables["LOCALDOMAIN"] == "shop.svc.cluster.local svc.cluster.local"
        assert world.variables["RES_OPTIONS"] == "ndots:5"

    in_world(test)


def test_the_doors_are_no_ports_of_the_childs() -> None:
    async def test(world: BesideCli) -> None:
        doors = {door.getsockname()[1] for door in (*world.proxies, *world.fast_proxies)}
        assert not doors & world.listening_ports().keys()

    in_world(test)


@pytest.mark.parametrize(
    ("number", "named"), [(errno.EBUSY, "WSL2"), (errno.ENOSYS, "Linux 5.6"), (errno.EPERM, "look into")]
)
def test_where_the_trial_fails_the_sentence_says_what_is_lacking(
    number: int, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> NoReturn:
        raise OSError(number, "seccomp: refused")

    async def nothing(_world: BesideCli) -> None:
        pytest.fail("it must not begin")

    monkeypatch.setattr(seccomp, "try_out", refused)
    with pytest.raises(StepRefused) as caught:
        in_world(nothing)
    assert named in explain(caught.value.refusal, FACTS)


def test_other_systems_and_machines_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert seccomp.hindrance(FACTS) is None
    assert "darwin" in str(seccomp.hindrance(replace(FACTS, platform="darwin")))
    uname = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((*uname[:4], "riscv64")))
    assert "riscv64" in str(seccomp.hindrance(FACTS))
