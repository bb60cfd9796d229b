from __future__ import annotations

from pathlib import Path

import pytest

from telepresence_py.model.errors import PreconditionFailed
from telepresence_py.model.network import Mount
from telepresence_py.session.prefix import require_prefix

MOUNTS = (Mount("/srv/data/", "d", "persistentVolumeClaim"), Mount("/tmp", "t", "emptyDir"))


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def refusal(prefix: Path | str, method: str | None = None) -> str:
    with pytest.raises(PreconditionFailed) as refused:
        require_prefix(str(prefix), method, MOUNTS)
    assert refused.value.sentence.startswith(f"--mount {prefix}: ")
    return refused.value.sentence


@pytest.mark.parametrize("method", [None, "proxy"])
def test_what_is_empty_or_not_there_is_taken_and_left_as_it_is(tmp_path: Path, method: str | None) -> None:
    (tmp_path / "empty").mkdir()
    for prefix in (tmp_path / "empty", tmp_path / "new"):
        require_prefix(str(prefix), method, MOUNTS)
    assert list((tmp_path / "empty").iterdir()) == []
    assert not (tmp_path / "new").exists()
    require_prefix(None, method, MOUNTS)


@pytest.mark.parametrize("method", [None, "proxy"])
def test_what_would_be_hidden_or_is_no_directory_is_refused(tmp_path: Path, method: str | None) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    (tmp_path / "link").symlink_to("full")
    assert "not empty" in refusal(tmp_path / "full", method)
    assert "Not a directory" in refusal(tmp_path / "full/file", method)
    assert "it is a link, to full" in refusal(tmp_path / "link", method)


def test_where_one_is_cannot_be_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert "you are in there" in refusal(tmp_path / "here")


@pytest.mark.parametrize("prefix", ["/srv/data", "/srv/data/pod", "/srv"])
def test_a_volume_and_the_prefix_cannot_be_in_each_other(prefix: str) -> None:
    if not Path(prefix).exists() or not any(Path(prefix).iterdir()):
        assert "the pod has a volume at /srv/data" in refusal(prefix)


def test_a_link_needs_a_parent_that_is_there(tmp_path: Path) -> None:
    assert f"no directory {tmp_path}/a" in refusal(tmp_path / "a/b", "proxy")
    require_prefix(str(tmp_path / "a/b"), None, MOUNTS)
