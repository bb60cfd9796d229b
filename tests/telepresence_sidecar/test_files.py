from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from telepresence_sidecar.files import CHUNK, mount_points, survey, tar_chunks


def unpack(path: Path) -> tarfile.TarFile:
    seen = survey(str(path), 10 << 20, 1000)
    assert not seen.refusal
    return tarfile.open(fileobj=io.BytesIO(b"".join(tar_chunks(seen))))


@pytest.fixture
def config_map(tmp_path: Path) -> Path:
    """As the kubelet lays it out."""
    real = tmp_path / "..2026_01_01"
    real.mkdir()
    (real / "key").write_text("value")
    (real / "key").chmod(0o640)
    (tmp_path / "..data").symlink_to("..2026_01_01")
    (tmp_path / "key").symlink_to("..data/key")
    return tmp_path


def test_a_volume_keeps_its_links_modes_and_directories(config_map: Path) -> None:
    with unpack(config_map) as tar:
        assert tar.getmember("..data").linkname == "..2026_01_01"
        assert tar.getmember("key").linkname == "..data/key"
        assert tar.getmember("..2026_01_01").isdir()
        assert tar.getmember("..2026_01_01/key").mode == 0o640
        names = tar.getnames()
    assert names.index("..2026_01_01") < names.index("..2026_01_01/key")


def test_a_single_file_comes_under_its_base_name_even_through_a_link(config_map: Path) -> None:
    with unpack(config_map / "key") as tar:
        (member,) = tar.getmembers()
        contents = tar.extractfile(member)
        assert contents is not None
        assert (member.name, contents.read()) == ("key", b"value")


def test_large_files_come_in_pieces(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(os.urandom(3 * CHUNK + 5))
    seen = survey(str(tmp_path), 10 << 20, 10)
    assert all(len(chunk) <= CHUNK for chunk in tar_chunks(seen))
    with unpack(tmp_path) as tar:
        contents = tar.extractfile("large")
        assert contents is not None
        assert contents.read() == (tmp_path / "large").read_bytes()


def test_names_that_are_long_or_no_utf_8_survive(tmp_path: Path) -> None:
    odd = b"caf\xe9".decode("utf-8", "surrogateescape")
    for name in ("n" * 200, odd):
        (tmp_path / name).write_text("x")
    with unpack(tmp_path) as tar:
        assert set(tar.getnames()) == {"n" * 200, odd}


@pytest.mark.parametrize(
    ("max_bytes", "max_files", "refusal"),
    [(9, 10, "it holds more than 9 bytes"), (100, 1, "it holds more than 1 files")],
)
def test_what_exceeds_a_limit_is_refused_with_the_limit(
    tmp_path: Path, max_bytes: int, max_files: int, refusal: str
) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(b"12345")
    assert survey(str(tmp_path), max_bytes, max_files).refusal == refusal
    assert survey(str(tmp_path), 10, 2).refusal == ""


def test_many_empty_directories_are_refused_too(tmp_path: Path) -> None:
    for number in range(200):
        (tmp_path / str(number)).mkdir()
    assert survey(str(tmp_path), 100, 10).refusal


def test_what_is_mounted_below_is_another_volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "with space").mkdir()
    (tmp_path / "with space" / "of another volume").write_text("x" * 100)
    (tmp_path / "single").write_text("x" * 100)
    (tmp_path / "own").write_text("x")
    (tmp_path.parent / "link").symlink_to(tmp_path)
    points = frozenset({str(tmp_path), f"{tmp_path}/with space", f"{tmp_path}/single", "/"})
    monkeypatch.setattr("telepresence_sidecar.files.mount_points", lambda _: points)
    seen = survey(str(tmp_path.parent / "link"), 100, 10)
    assert (seen.entries, seen.files, seen.size, seen.refusal) == (["own"], 1, 1, "")


def test_mount_points_are_read_as_the_kernel_writes_them() -> None:
    text = (
        "22 28 0:20 / /sys rw,nosuid shared:7 - sysfs sysfs rw\n"
        "75 22 0:52 /x /mnt/with\\040space\\011tab ro - tmpfs tmpfs rw\n"
        "broken\n"
    )
    assert mount_points(text) == {"/sys", "/mnt/with space\ttab"}
    with open("/proc/self/mountinfo") as mountinfo:
        assert "/proc" in mount_points(mountinfo.read())


def test_what_is_missing_or_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert survey(str(tmp_path / "no"), 1, 1).kind == "missing"
    assert survey(str(tmp_path / "pipe"), 1, 1).refusal
    assert survey(str(tmp_path), 1, 1).entries == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_cannot_be_read_is_named_and_left_out(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "secret").chmod(0)
    (tmp_path / "open").write_text("x")
    seen = survey(str(tmp_path), 100, 10)
    assert (seen.unreadable, seen.entries) == (["secret"], ["open"])


def test_a_file_that_shrinks_or_vanishes_meanwhile_leaves_a_readable_stream(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).write_bytes(b"x" * 2000)
    seen = survey(str(tmp_path), 1 << 20, 10)
    (tmp_path / seen.entries[0]).unlink()
    chunks = tar_chunks(seen)
    first = next(chunks)
    os.truncate(tmp_path / seen.entries[1], 10)
    with tarfile.open(fileobj=io.BytesIO(first + b"".join(chunks))) as tar:
        assert tar.getnames() == seen.entries[1:]
