from __future__ import annotations

import os

import pytest
import trio

from telepresence_py.model.events import Event
from telepresence_py.model.network import Mount
from telepresence_py.session.copies import ask_for
from telepresence_py.tunnel import bridge
from telepresence_py.volumes import choose
from tests.fakes.tunnel import FakePod


@pytest.fixture
def volume(tmp_path):
    """A directory that plays the pod's volume, as the kubelet lays it out."""
    volume = tmp_path / "config"
    (volume / "..1").mkdir(parents=True)
    (volume / "..1" / "settings.yaml").write_text("color: blue\n")
    (volume / "..data").symlink_to("..1")
    (volume / "settings.yaml").symlink_to("..data/settings.yaml")
    return volume


@pytest.fixture
def target(tmp_path):
    (tmp_path / "target").mkdir()
    descriptor = os.open(tmp_path / "target", os.O_RDONLY)
    yield tmp_path / "target", descriptor
    os.close(descriptor)


def test_a_volume_arrives_with_its_links_through_the_directory_it_is_given(volume, target):
    path, descriptor = target

    async def main():
        pod = FakePod()
        async with trio.open_nursery() as nursery:
            mount = Mount(str(volume), "config", "configMap", read_only=True)
            copies = await ask_for(nursery, pod.tunnel(), [mount], lambda event: None)
            assert copies.directories == (str(volume),)
            assert copies.writable == frozenset()
            await copies.fill({str(volume): descriptor})

    bridge.run(main)
    assert os.readlink(path / "settings.yaml") == "..data/settings.yaml"
    assert (path / "..1" / "settings.yaml").read_text() == "color: blue\n"


def test_a_volume_that_is_too_large_is_named_and_left_out(volume, monkeypatch):
    told: list[Event] = []
    monkeypatch.setattr("telepresence_py.session.copies.MOST_FILES", 0)

    async def main():
        async with trio.open_nursery() as nursery:
            mount = Mount(str(volume), "config", "configMap")
            copies = await ask_for(nursery, FakePod().tunnel(), [mount], told.append)
            assert copies.directories == ()

    bridge.run(main)
    (event,) = told
    assert str(volume) in event.text
    assert "too large" in event.text


def test_only_what_the_pod_may_write_is_writable(tmp_path):
    for name in ("cache", "secret"):
        (tmp_path / name).mkdir()

    async def main():
        async with trio.open_nursery() as nursery:
            mounts = [
                Mount(str(tmp_path / "cache"), "cache", "emptyDir"),
                Mount(str(tmp_path / "secret"), "secret", "secret", read_only=True),
            ]
            copies = await ask_for(nursery, FakePod().tunnel(), mounts, lambda event: None)
            assert copies.writable == {str(tmp_path / "cache")}
            nursery.cancel_scope.cancel()

    bridge.run(main)


def test_limits_are_those_that_the_volumes_room_documents():
    assert (choose.MOST_BYTES, choose.MOST_FILES) == (64 << 20, 5000)
