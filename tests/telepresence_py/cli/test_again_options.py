"""What --restart watches."""

from __future__ import annotations

import os

import pytest

from telepresence_py.cli.again_options import watched_paths
from telepresence_py.model.errors import BadUsage, NamedObjectMissing


def test_what_is_watched_is_absolute_and_named_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "src").mkdir()
    assert watched_paths((), restart=True) == (str(tmp_path),)
    assert watched_paths(("src", "./src/"), restart=True) == (str(tmp_path / "src"),)
    assert watched_paths((), restart=False) == ()


def test_what_is_not_there_cannot_be_watched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sources").mkdir()
    with pytest.raises(NamedObjectMissing, match=r"--watch source: .* did you mean sources\?"):
        watched_paths(("source",), restart=True)
    with pytest.raises(NamedObjectMissing, match=r"no such file or directory$"):
        watched_paths(("/no/such/place",), restart=True)


def test_watch_alone_is_refused():
    with pytest.raises(BadUsage, match="add --restart"):
        watched_paths(("src",), restart=False)


def test_a_working_directory_that_is_gone_cannot_be_watched(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    os.rmdir(gone)
    with pytest.raises(NamedObjectMissing, match="working directory is gone"):
        watched_paths((), restart=True)
