from __future__ import annotations

import errno
import io
import os
import stat
import tarfile
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from telepresence_py.model.errors import InternalError
from telepresence_py.volumes.publish import publish
from tests.fakes.inotify import Watch

FIRST, SECOND = "..2026_11_28_09_00_00.1", "..2026_11_28_09_01_00.2"


def tar_of(files: dict[str, str], mode: int = 0o644) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), mode
            archive.addfile(info, io.BytesIO(content.encode()))
    return stream.getvalue()


async def chunks_of(tar: bytes, then: OSError | None = None) -> AsyncIterator[bytes]:
    yield tar
    if then is not None:
        raise then


def content(directory: int, name: str) -> str:
    with open(os.open(name, os.O_RDONLY, dir_fd=directory)) as file:
        return file.read()


class Volume:
    """A directory that is published into through its descriptor."""

    def __init__(self, path: Path) -> None:
        path.mkdir()
        self.path = path
        self.descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)

    def publish(self, state: str, then: OSError | None = None, mode: int = 0o644, **files: str) -> bool:
        return trio.run(publish, self.descriptor, state, chunks_of(tar_of(files, mode), then))

    def seen(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in self.path.iterdir() if not path.name.startswith("..")}

    def own_names(self) -> set[str]:
        return {name for name in os.listdir(self.path) if name.startswith("..")}


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    made = Volume(tmp_path / "volume")
    yield made
    os.close(made.descriptor)


def test_the_first_state_has_the_kubelets_layout(volume: Volume) -> None:
    assert volume.publish(FIRST, colour="green", **{"deep/down/shape": "round"})
    assert os.readlink(volume.path / "..data") == FIRST
    assert os.readlink(volume.path / "colour") == "..data/colour"
    assert os.readlink(volume.path / "deep") == "..data/deep"
    assert (volume.path / "deep/down/shape").read_text() == "round"
    assert stat.S_IMODE((volume.path / FIRST).stat().st_mode) == 0o755


def test_keys_change_come_and_go_and_the_old_state_goes(volume: Volume) -> None:
    volume.publish(FIRST, colour="green", shape="round")
    assert volume.publish(SECOND, colour="red", size="large")
    assert volume.seen() == {"colour": "red", "size": "large"}
    assert volume.own_names() == {"..data", SECOND}


def test_who_watches_the_directory_is_told_what_a_pod_is_told(volume: Volume) -> None:
    volume.publish(FIRST, colour="green", shape="round")
    with Watch(str(volume.path)) as watch:
        volume.publish(SECOND, colour="red", size="large")
        assert watch.events() == [
            ("create", SECOND),
            ("create", "..data_tmp"),
            ("moved from", "..data_tmp"),
            ("moved to", "..data"),
            ("create", "size"),
            ("delete", "shape"),
            ("delete", FIRST),
        ]


def test_what_is_the_same_already_is_not_put_in_place_again(volume: Volume) -> None:
    volume.publish(FIRST, colour="green", **{"deep/down/shape": "round"})
    assert not volume.publish(SECOND, colour="green", **{"deep/down/shape": "round"})
    assert os.readlink(volume.path / "..data") == FIRST
    assert volume.own_names() == {"..data", FIRST}


@pytest.mark.parametrize("changed", [{"mode": 0o640}, {"size": ""}])
def test_a_mode_or_a_key_alone_is_a_change(volume: Volume, changed: dict[str, Any]) -> None:
    volume.publish(FIRST, colour="green")
    assert volume.publish(SECOND, **{"colour": "green", **changed})


def test_a_reader_never_sees_two_states_mixed(volume: Volume) -> None:
    """Both files are read through one opened state, as a program does that must not mix them."""
    volume.publish("..0", first="0", second="0")
    ended = threading.Event()
    seen: set[tuple[str, str]] = set()

    def read() -> None:
        while not ended.is_set():
            try:
                state = os.open(volume.path / "..data", os.O_RDONLY | os.O_DIRECTORY)
            except FileNotFoundError:  # between the two looks of the kernel, as in a pod
                continue
            try:
                seen.add((content(state, "first"), content(state, "second")))
            except FileNotFoundError:  # the old state was removed meanwhile
                continue
            finally:
                os.close(state)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(1, 60):
        volume.publish(f"..{number}", first=str(number), second=str(number))
    ended.set()
    reader.join()
    assert seen
    assert all(first == second for first, second in seen)


def test_one_that_breaks_off_after_its_last_byte_leaves_the_old_state_and_nothing_else(
    volume: Volume,
) -> None:
    volume.publish(FIRST, colour="green")
    stale = OSError(errno.ESTALE, "replaced")
    with pytest.raises(OSError, match="replaced") as raised:
        volume.publish(SECOND, then=stale, colour="red", shape="x" * 100_000)
    assert raised.value.errno == errno.ESTALE
    assert volume.seen() == {"colour": "green"}
    assert volume.own_names() == {"..data", FIRST}


def test_one_that_breaks_off_within_a_file_tells_the_links_own_error(volume: Volume) -> None:
    async def cut() -> AsyncIterator[bytes]:
        yield tar_of({"large": "x" * 100_000})[:5000]
        raise ConnectionResetError(errno.ECONNRESET, "the files broke off")

    with pytest.raises(ConnectionResetError):
        trio.run(publish, volume.descriptor, FIRST, cut())
    assert volume.own_names() == set()


def test_one_that_is_cancelled_leaves_the_old_state_and_nothing_else(volume: Volume) -> None:
    volume.publish(FIRST, colour="green")

    async def silent() -> AsyncIterator[bytes]:
        yield tar_of({"colour": "red"})[:600]
        await trio.sleep_forever()

    async def cancelled_soon() -> None:
        with trio.move_on_after(0.05):
            await publish(volume.descriptor, SECOND, silent())

    trio.run(cancelled_soon)
    assert volume.seen() == {"colour": "green"}
    assert volume.own_names() == {"..data", FIRST}


@pytest.mark.parametrize("name", ["", "..", "..data", "..data_tmp", "plain", "../out", "..a/b", "..\0"])
def test_a_state_that_names_no_directory_of_its_own_is_refused(volume: Volume, name: str) -> None:
    with pytest.raises(InternalError, match="state of a volume"):
        volume.publish(name, colour="red")
    assert os.listdir(volume.path) == []


def test_the_state_that_is_in_place_is_not_written_over(volume: Volume) -> None:
    volume.publish(FIRST, colour="green")
    with pytest.raises(InternalError, match="cannot be written"):
        volume.publish(FIRST, colour="red")
    assert volume.seen() == {"colour": "green"}


def test_names_of_the_layout_itself_are_not_shown(volume: Volume) -> None:
    volume.publish(FIRST, **{"..data": "x", "..evil": "x", "colour": "green"})
    assert os.readlink(volume.path / "..data") == FIRST
    assert volume.seen() == {"colour": "green"}
    assert volume.own_names() == {"..data", FIRST}


def test_the_mount_point_of_a_volume_in_the_volume_is_left_alone(volume: Volume) -> None:
    (volume.path / "certs").mkdir()
    volume.publish(FIRST, colour="green", certs="of the volume")
    volume.publish(SECOND, colour="red")
    assert (volume.path / "certs").is_dir()
    assert (volume.path / "colour").read_text() == "red"


def test_links_that_the_pod_sends_are_compared_but_not_followed(volume: Volume) -> None:
    def with_link(target: str) -> bytes:
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            info = tarfile.TarInfo("endless")
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
        return stream.getvalue()

    assert trio.run(publish, volume.descriptor, FIRST, chunks_of(with_link("/dev/zero")))
    assert not trio.run(publish, volume.descriptor, SECOND, chunks_of(with_link("/dev/zero")))
    assert trio.run(publish, volume.descriptor, SECOND, chunks_of(with_link("/dev/null")))
