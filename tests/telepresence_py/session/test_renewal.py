"""Volumes of a fake pod that change, and what becomes of their copies."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from telepresence_py.model.events import Event, Level
from telepresence_py.model.network import Mount
from telepresence_py.session.copies import ask_for
from telepresence_py.tunnel import bridge
from telepresence_py.tunnel.interface import Tunnel
from tests.fakes.kubelet import KubeletVolume
from tests.fakes.tunnel import FakePod

DEADLINE = 20.0


@pytest.fixture(autouse=True)
def pods_that_look_often(monkeypatch):
    monkeypatch.setattr("telepresence_sidecar.renewal.LOOK_SECONDS", 0.01)


class Copy:
    """A volume of the pod, and its copy on the laptop."""

    def __init__(self, root: Path) -> None:
        self.volume = KubeletVolume(root / "volume", colour="green")
        self.path = root / "copy"
        self.path.mkdir()
        self.told: list[Event] = []

    @asynccontextmanager
    async def kept(self, tunnel: Tunnel, any_live: Callable[[], Tunnel | None]) -> AsyncIterator[None]:
        """Filled, and renewed until the end of the block."""
        descriptor = os.open(self.path, os.O_RDONLY)
        mount = Mount(str(self.volume.path), "config", "configMap", read_only=True)
        with trio.fail_after(DEADLINE):
            async with trio.open_nursery() as nursery:
                copies = await ask_for(nursery, tunnel, any_live, [mount], self.told.append)
                await copies.fill({mount.path: descriptor})
                os.close(descriptor)
                yield
                nursery.cancel_scope.cancel()

    async def until(self, **files: str) -> None:
        while self.seen() != files:  # noqa: ASYNC110 - another thread writes
            await trio.sleep(0.005)

    async def until_told(self, level: Level) -> Event:
        while not (told := [event for event in self.told if event.level is level]):  # noqa: ASYNC110
            await trio.sleep(0.005)
        return told[0]

    def seen(self) -> dict[str, str]:
        names = [name for name in os.listdir(self.path) if not name.startswith("..")]
        try:
            return {name: (self.path / name).read_text() for name in names}
        except FileNotFoundError:  # between two states
            return {}


@pytest.fixture
def copy(tmp_path):
    return Copy(tmp_path)


def test_changes_follow_each_other_and_each_is_told_as_a_detail(copy):
    async def main():
        tunnel = FakePod().tunnel()
        async with copy.kept(tunnel, lambda: tunnel):
            copy.volume.write(colour="red", shape="round")
            await copy.until(colour="red", shape="round")
            copy.volume.write(shape="square")
            await copy.until(shape="square")

    bridge.run(main)
    assert [(event.name, event.level) for event in copy.told] == [("volume-renewed", Level.DETAIL)] * 2


def test_when_the_link_is_lost_another_pod_goes_on(copy):
    async def main():
        first, second = FakePod(), FakePod()
        tunnels = [first.tunnel(), second.tunnel()]
        async with copy.kept(tunnels[0], lambda: next((t for t in tunnels if not t.lost.is_set()), None)):
            first.cut()
            await tunnels[0].lost.wait()
            copy.volume.write(colour="red")
            await copy.until(colour="red")

    bridge.run(main)
    assert [event.level for event in copy.told] == [Level.DETAIL]


def test_without_any_link_it_waits_for_one(copy, monkeypatch):
    monkeypatch.setattr("telepresence_py.session.renewal._NO_LINK_SECONDS", 0.01)

    async def main():
        first, second = FakePod(), FakePod()
        tunnels = [first.tunnel()]
        async with copy.kept(tunnels[0], lambda: next((t for t in tunnels if not t.lost.is_set()), None)):
            first.cut()
            await tunnels[0].lost.wait()
            copy.volume.write(colour="red")
            tunnels.append(second.tunnel())
            await copy.until(colour="red")

    bridge.run(main)


def test_what_has_become_too_large_is_told_and_what_comes_after_it_is_taken(copy, monkeypatch):
    monkeypatch.setattr("telepresence_py.session.renewal.MOST_BYTES", 100)

    async def main():
        tunnel = FakePod().tunnel()
        async with copy.kept(tunnel, lambda: tunnel):
            copy.volume.write(colour="x" * 200)
            event = await copy.until_told(Level.WARNING)
            assert "more than 100 bytes" in event.text
            assert copy.seen() == {"colour": "green"}
            copy.volume.write(colour="red")
            await copy.until(colour="red")

    bridge.run(main)
    assert [event.name for event in copy.told] == ["volume-not-renewed", "volume-renewed"]


def test_what_cannot_be_written_is_told_and_the_old_content_stays(copy):
    async def main():
        tunnel = FakePod().tunnel()
        async with copy.kept(tunnel, lambda: tunnel):
            os.mkdir(copy.path / "..data_tmp")  # in the way of the link
            copy.volume.write(colour="red")
            event = await copy.until_told(Level.WARNING)
            assert "cannot be written" in event.text
            assert copy.seen() == {"colour": "green"}
            os.rmdir(copy.path / "..data_tmp")
            copy.volume.write(colour="blue")
            await copy.until(colour="blue")

    bridge.run(main)


def test_a_pod_of_an_older_image_that_takes_over_is_told_of_and_not_asked_again(copy):
    async def main():
        first, second = FakePod(), FakePod(knows_states=False)
        tunnels = [first.tunnel(), second.tunnel()]
        async with copy.kept(tunnels[0], lambda: next((t for t in tunnels if not t.lost.is_set()), None)):
            first.cut()
            await copy.until_told(Level.WARNING)
            copy.volume.write(colour="red")
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert copy.seen() == {"colour": "green"}

    bridge.run(main)
    assert [event.name for event in copy.told] == ["volume-not-renewed"]


def test_a_first_state_that_is_replaced_while_it_comes_is_asked_for_again(copy):
    large = {"colour": "x" * 8_000_000}
    copy.volume.write(**large)

    async def main():
        tunnel = FakePod().tunnel()
        descriptor = os.open(copy.path, os.O_RDONLY)
        mount = Mount(str(copy.volume.path), "config", "configMap", read_only=True)
        with trio.fail_after(DEADLINE):
            async with trio.open_nursery() as nursery:
                copies = await ask_for(nursery, tunnel, lambda: tunnel, [mount], copy.told.append)
                copy.volume.write(colour="red")
                await copies.fill({mount.path: descriptor})
                assert copy.seen() == {"colour": "red"}
                nursery.cancel_scope.cancel()
        os.close(descriptor)

    bridge.run(main)
    assert copy.told == []


def test_no_descriptor_is_left_behind(copy):
    before = len(os.listdir("/proc/self/fd"))

    async def main():
        tunnel = FakePod().tunnel()
        async with copy.kept(tunnel, lambda: tunnel):
            copy.volume.write(colour="red")
            await copy.until(colour="red")

    bridge.run(main)
    assert len(os.listdir("/proc/self/fd")) == before
