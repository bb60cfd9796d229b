from __future__ import annotations

from pathlib import Path

import pytest

from telepresence_py.cli.volume_options import parse_files, parse_prefix, parse_volumes
from telepresence_py.model.errors import BadUsage


def test_each_path_has_a_way_and_no_slash_at_its_end() -> None:
    words = ["/data=live", "/srv/a=b/=copy", "/scratch=off", "/data/=live"]
    assert parse_volumes(words) == {"/data": "live", "/srv/a=b": "copy", "/scratch": "off"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["/data"], "PATH=WAY"),
        (["data=live"], "PATH=WAY"),
        (["=live"], "PATH=WAY"),
        (["/data=lvie"], "did you mean 'live'?"),
        (["/data=yes"], "there are copy, live and off"),
        (["/data="], "there are copy, live and off"),
        (["/data=live", "/data=off"], "says twice"),
    ],
)
def test_what_makes_no_sense_is_refused(words: list[str], told: str) -> None:
    with pytest.raises(BadUsage) as refused:
        parse_volumes(words)
    assert told in str(refused.value)


def test_a_prefix_is_an_absolute_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_prefix("pod/") == f"{tmp_path}/pod"
    assert parse_prefix("/pod/../srv/pod") == "/srv/pod"
    assert parse_prefix(None) is None


@pytest.mark.parametrize("word", ["", " ", "true", "false", "/", "/proc/1", "/dev"])
def test_what_can_hold_no_volumes_is_refused(word: str) -> None:
    with pytest.raises(BadUsage, match="--mount"):
        parse_prefix(word)


@pytest.mark.parametrize("word", ["", "app.yaml", "/", "//", "/etc/../app", "/proc/1/environ", "/a\0b"])
def test_what_is_no_path_of_a_container_is_refused(word: str) -> None:
    with pytest.raises(BadUsage, match="--file"):
        parse_files([word])


def test_what_is_in_a_directory_that_is_brought_is_not_brought_besides() -> None:
    assert parse_files(["/etc/app", "/etc/apps/x"]) == ("/etc/app", "/etc/apps/x")
    with pytest.raises(BadUsage, match="--file /etc/app/x is in --file /etc/app"):
        parse_files(["/etc/app/x", "/etc/app"])
