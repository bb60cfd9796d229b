from __future__ import annotations

import io
import tarfile

import pytest

from telepresence_py.volumes import brought
from telepresence_py.volumes.brought import Brought, Link, TooMuch, covering, of_archive


def archive(*members: tuple[str, bytes, int, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as made:
        for name, kind, mode, content in members:
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.size = kind, mode, len(content)
            made.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def test_a_file_has_its_bytes_and_its_mode_without_set_uid() -> None:
    packed = archive(("./etc/app", tarfile.REGTYPE, 0o4751, b"\0\xff"))
    assert of_archive("/etc/app", packed, "/") == Brought("/etc/app", b"\0\xff", 0o751)


@pytest.mark.parametrize(("root", "name", "fills"), [("/", "./etc/app", "/etc/app"), ("/etc/app", ".", "/")])
def test_a_directory_is_the_archive_itself_whatever_its_names_are_relative_to(
    root: str, name: str, fills: str
) -> None:
    packed = archive((name, tarfile.DIRTYPE, 0o750, b""), (f"{name}/x", tarfile.REGTYPE, 0o644, b"x"))
    looked = of_archive("/etc/app", packed, root)
    assert looked == Brought("/etc/app", packed, 0o750, root)
    assert (looked.is_directory, looked.fills) == (True, fills)


def test_links_devices_and_nothing_are_told_apart() -> None:
    assert of_archive("/a", archive(("./a", tarfile.SYMTYPE, 0o777, b"")), "/") == Link()
    assert of_archive("/a", archive(("./a", tarfile.FIFOTYPE, 0o600, b"")), "/") is None
    assert of_archive("/a", archive(), "/") is None


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (b"", "empty"),
        (b"no archive" * 100, "header"),
        (archive(("./a", tarfile.REGTYPE, 0o600, b"x" * 5000))[:3000], "no end"),
        (archive(("./a", tarfile.REGTYPE, 0o600, b"x" * 5000))[:600] + bytes(1024), "end of data"),
        (archive(("./a", tarfile.DIRTYPE, 0o700, b""))[:512], "no end"),
    ],
)
def test_what_is_no_whole_archive_is_an_error(wrong: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        of_archive("/a", wrong, "/")


def test_more_than_may_be_copied_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = archive(("./a", tarfile.DIRTYPE, 0o755, b""), ("./a/b", tarfile.REGTYPE, 0o644, bytes(100)))
    monkeypatch.setattr(brought, "MOST_FILES", 1)
    assert of_archive("/a", packed, "/") == TooMuch(2, 100)
    monkeypatch.setattr(brought, "MOST_FILES", 9)
    monkeypatch.setattr(brought, "MOST_BYTES", 99)
    assert of_archive("/a", packed, "/") == TooMuch(2, 100)
    begun = archive(("./a", tarfile.REGTYPE, 0o644, bytes(2000)))[:600]
    assert of_archive("/a", begun, "/") == TooMuch(1, 2000), "whether or not all of it has come"


def test_a_volume_that_holds_the_path_or_is_in_it_is_named() -> None:
    mounts = {"/etc/app": "configMap", "/srv/data/in": "emptyDir"}
    assert "the volume at /etc/app (configMap)" in str(covering("/etc/app/key", mounts))
    assert "the volume at /etc/app" in str(covering("/etc/app", mounts))
    assert "the volume at /srv/data/in (emptyDir) is in it" in str(covering("/srv/data", mounts))
    assert covering("/etc/apps", mounts) is None
