from __future__ import annotations

import os

import pytest
import trio

from telepresence_py.model.events import Event, Level
from telepresence_py.model.network import Mount
from telepresence_py.session.copies import ask_for
from telepresence_py.tunnel import bridge
from telepresence_py.volumes import choose
from tests.fakes.kubelet import KubeletVolume
from tests.fakes.tunnel import FakePod


async def asked(nursery, pod, mounts, told=None):
    tunnel = pod.tunnel()
    return await ask_for(nursery, tunnel, lambda: tunnel, mounts, [].append if told is None else told.append)


@pytest.fixture
def volume(tmp_path):
    """A directory that plays the pod's volume."""
    return KubeletVolume(tmp_path / "config", **{"settings.yaml": "color: blue\n"}).path


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
            copies = await asked(nursery, pod, [mount])
            assert copies.directories == (str(volume),)
            assert copies.writable == frozenset()
            await copies.fill({str(volume): descriptor})
            nursery.cancel_scope.cancel()

    bridge.run(main)
    assert os.readlink(path / "settings.yaml") == "..data/settings.yaml"
    assert (path / "settings.yaml").read_text() == "color: blue\n"


def test_a_volume_that_is_too_large_is_named_and_left_out(volume, monkeypatch):
    told: list[Event] = []
    monkeypatch.setattr("telepresence_py.session.copies.MOST_FILES", 0)

    async def main():
        async with trio.open_nursery() as nursery:
            mount = Mount(str(volume), "config", "configMap")
            copies = await asked(nursery, FakePod(), [mount], told)
            assert copies.directories == ()

    bridge.run(main)
    (event,) = told
    assert str(volume) in event.text
    assert "more than 0 files" in event.text


def test_only_what_the_pod_may_write_is_writable(tmp_path):
    for name in ("cache", "secret"):
        (tmp_path / name).mkdir()

    async def main():
        async with trio.open_nursery() as nursery:
            mounts = [
                Mount(str(tmp_path / "cache"), "cache", "emptyDir"),
                Mount(str(tmp_path / "secret"), "secret", "secret", read_only=True),
            ]
            copies = await asked(nursery, FakePod(), mounts)
            assert copies.writable == {str(tmp_path / "cache")}
            nursery.cancel_scope.cancel()

    bridge.run(main)


def test_limits_are_those_that_the_volumes_room_documents():
    assert (choose.MOST_BYTES, choose.MOST_FILES) == (64 << 20, 5000)


def test_an_image_that_cannot_tell_of_changes_is_named_once_and_its_volumes_are_those_of_the_start(
    volume, tmp_path, target
):
    told: list[Event] = []
    path, descriptor = target
    (tmp_path / "other").mkdir()

    async def main():
        async with trio.open_nursery() as nursery:
            mounts = [
                Mount(str(volume), "config", "configMap", read_only=True),
                Mount(str(tmp_path / "other"), "other", "secret", read_only=True),
            ]
            copies = await asked(nursery, FakePod(knows_states=False), mounts, told)
            await copies.fill({str(volume): descriptor, str(tmp_path / "other"): descriptor})

    bridge.run(main)
    (event,) = told
    assert (event.name, event.level) == ("volumes-not-renewed", Level.NOTICE)
    assert (path / "settings.yaml").read_text() == "color: blue\n"


def test_an_empty_dir_is_not_followed_even_if_it_looks_like_a_renewed_volume(volume, target):
    path, descriptor = target

    async def main():
        async with trio.open_nursery() as nursery:
            mounts = [Mount(str(volume), "cache", "emptyDir")]
            copies = await asked(nursery, FakePod(), mounts)
            await copies.fill({str(volume): descriptor})

    bridge.run(main)  # ends by itself: nothing is waited for
    assert (path / "settings.yaml").read_text() == "color: blue\n"
