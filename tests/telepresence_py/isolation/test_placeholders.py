"""Without namespaces; that mounts survive, and that killed sessions leave none, is shown in other modules."""

from __future__ import annotations

from pathlib import Path

from telepresence_py.isolation.placeholders import Placeholders


def test_what_was_made_is_removed_and_what_was_there_stays(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    placeholders = Placeholders()
    placeholders.make(str(tmp_path / "there/a/b"), is_directory=True)
    placeholders.make(str(tmp_path / "there/a/file"), is_directory=False)
    placeholders.make(str(tmp_path / "there"), is_directory=True)
    assert (tmp_path / "there/a/b").is_dir()
    assert (tmp_path / "there/a/file").read_bytes() == b""
    placeholders.remove()
    assert list(tmp_path.rglob("*")) == [tmp_path / "there"]
    placeholders.remove()


def test_what_is_no_longer_empty_stays(tmp_path: Path) -> None:
    placeholders = Placeholders()
    placeholders.make(str(tmp_path / "directory"), is_directory=True)
    placeholders.make(str(tmp_path / "file"), is_directory=False)
    (tmp_path / "directory/own").write_text("own")
    (tmp_path / "file").write_text("own")
    placeholders.remove()
    assert (tmp_path / "directory/own").read_text() == "own"
    assert (tmp_path / "file").read_text() == "own"


def test_what_another_claims_stays(tmp_path: Path) -> None:
    ours, others = Placeholders(), Placeholders()
    ours.make(str(tmp_path / "both"), is_directory=True)
    others.claim(str(tmp_path / "both"))
    ours.remove()
    assert (tmp_path / "both").is_dir()
    others.remove()
    assert (tmp_path / "both").is_dir()
