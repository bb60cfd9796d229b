from __future__ import annotations

from pathlib import Path

import pytest

from telepresence_py.model.events import Event
from telepresence_py.model.network import Mount
from telepresence_py.session.live_volumes import LiveVolumes, open_live
from telepresence_py.tunnel import bridge
from tests.fakes.tunnel import FakePod


def opened(pod_of: bool, *mounts: Mount) -> tuple[LiveVolumes, tuple[Mount, ...], list[Event]]:
    """What comes of asking a pod, whose sidecar knows of operations or not, for these mounts."""
    told: list[Event] = []
    found: list[tuple[LiveVolumes, tuple[Mount, ...]]] = []

    async def main() -> None:
        tunnel = FakePod(knows_states=pod_of).tunnel()
        live, files = await open_live(tunnel, lambda: tunnel, mounts, told.append)
        live.close()
        found.append((live, files))

    bridge.run(main)
    ((live, files),) = found
    return live, files, told


def test_directories_are_live_and_single_files_are_to_be_copied(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    directory, file = Mount(str(tmp_path), "v", "emptyDir"), Mount(str(tmp_path / "file"), "v", "emptyDir")
    live, files, told = opened(True, file, directory)
    assert (live.paths, files, told) == ((str(tmp_path),), (file,), [])


@pytest.mark.parametrize("read_only", [True, False])
def test_a_volume_may_be_written_where_the_mount_may(tmp_path: Path, read_only: bool) -> None:
    live, _files, _told = opened(True, Mount(str(tmp_path), "v", "emptyDir", read_only))
    assert live.writable == (frozenset() if read_only else {str(tmp_path)})


def test_a_path_that_the_pod_does_not_have_is_told(tmp_path: Path) -> None:
    live, files, told = opened(True, Mount(str(tmp_path / "no"), "v", "hostPath"))
    assert (live.paths, files) == ((), ())
    assert [event.name for event in told] == ["volume-skipped"]
    assert f"{tmp_path}/no is not there: it cannot be read" in told[0].text


def test_a_sidecar_that_is_too_old_is_told(tmp_path: Path) -> None:
    live, _files, told = opened(False, Mount(str(tmp_path), "v", "emptyDir"))
    assert live.paths == ()
    assert "too old" in told[0].text
