"""Which state a volume is in, and waiting for the next."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path

import pytest

from telepresence_sidecar.renewal import LOOK_SECONDS, another_state, state_of
from tests.fakes.kubelet import KubeletVolume
from tests.fakes.loop import in_virtual_time


def test_a_state_has_the_name_that_the_kubelet_gave_it(tmp_path: Path) -> None:
    volume = KubeletVolume(tmp_path / "volume", key="1")
    assert state_of(str(volume.path)) == volume.state
    assert state_of(str(volume.path)) != volume.write(key="2")


def test_what_the_kubelet_does_not_renew_has_no_state(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path, tmp_path / "file", tmp_path / "missing"):
        assert state_of(str(path)) == ""
    (tmp_path / "..data").symlink_to("/etc")
    assert state_of(str(tmp_path)) == ""


@in_virtual_time
async def test_it_waits_until_the_volume_is_in_another_state(tmp_path: Path) -> None:
    volume = KubeletVolume(tmp_path / "volume", key="1")
    loop = asyncio.get_running_loop()
    waiting = asyncio.create_task(another_state(str(volume.path), volume.state))
    await asyncio.sleep(100)
    assert not waiting.done()
    written, at = volume.write(key="2"), loop.time()
    assert await waiting == written
    assert loop.time() - at <= LOOK_SECONDS


@in_virtual_time
async def test_a_minute_of_waiting_is_a_minute_of_looks_whoever_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every volume's link is read once a second, and all of them in the same turn of the loop."""
    volumes = [KubeletVolume(tmp_path / name, key="1") for name in "abc"]
    looks: Counter[float] = Counter()
    readlink, loop = os.readlink, asyncio.get_running_loop()

    def count(path: str) -> str:
        looks[loop.time()] += 1
        return readlink(path)

    monkeypatch.setattr("telepresence_sidecar.renewal.os.readlink", count)
    await asyncio.sleep(0.3)
    waiting = [asyncio.create_task(another_state(str(one.path), one.state)) for one in volumes]
    await asyncio.sleep(60)
    assert list(looks.values()) == [3] * 61
    for task in waiting:
        task.cancel()


@in_virtual_time
async def test_a_volume_that_has_no_state_for_a_while_is_waited_for(tmp_path: Path) -> None:
    volume = KubeletVolume(tmp_path / "volume", key="1")
    (volume.path / "..data").unlink()
    waiting = asyncio.create_task(another_state(str(volume.path), volume.state))
    await asyncio.sleep(10)
    assert not waiting.done()
    waiting.cancel()
