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


def test_what_one_made_and_others_use_goes_with_the_last_of_them(tmp_path: Path) -> None:
    ours, others, third = Placeholders(), Placeholders(), Placeholders()
    ours.make(str(tmp_path / "a/both"), is_directory=True)
    others.claim(str(tmp_path / "a/both"))
    third.make(str(tmp_path / "a/other"), is_directory=False)
    ours.remove()
    assert (tmp_path / "a/both").is_dir()
    others.remove()
    assert not (tmp_path / "a/both").exists()
    assert (tmp_path / "a").is_dir()
    third.remove()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_one_left_goes_with_the_next_that_uses_it(tmp_path: Path) -> None:
    killed = Placeholders()
    killed.make(str(tmp_path / "a/b/file"), is_directory=False)
    killed._ours.clear()
    killed.remove()
    assert (tmp_path / "a/b/file").exists()
    following = Placeholders()
    following.claim(str(tmp_path / "a/b/file"))
    following.remove()
    assert list(tmp_path.iterdir()) == []


def test_an_empty_directory_of_the_users_own_stays(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    user = Placeholders()
    user.claim(str(tmp_path / "own"))
    user.make(str(tmp_path / "own/below"), is_directory=True)
    user.remove()
    assert list(tmp_path.rglob("*")) == [tmp_path / "own"]
