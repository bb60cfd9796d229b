"""The options on the environment, as values."""

from __future__ import annotations

import pytest

from telepresence_py.cli.environment import environment_choice
from telepresence_py.model.errors import BadUsage, NamedObjectMissing
from telepresence_py.model.intent import EnvironmentChoice


def choice(**options):
    return environment_choice({"env_file": None, "env_json": None, "env_from": None, **options})


def test_nothing_asked_for_is_nothing():
    assert choice() == EnvironmentChoice()


def test_paths_are_made_absolute_as_the_session_lives_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert choice(env_file=".env", env_json="/x/e.json") == EnvironmentChoice(f"{tmp_path}/.env", "/x/e.json")


def test_one_file_cannot_be_both():
    with pytest.raises(BadUsage, match="two files"):
        choice(env_file="/tmp/x", env_json="/tmp/../tmp/x")


def test_variables_are_read_bytes_that_are_no_utf_8_too(tmp_path):
    file = tmp_path / "mine"
    file.write_bytes(b"A=b\nC='\xff'\n")
    assert choice(env_from=str(file)).laid_over == {"A": "b", "C": "\udcff"}


def test_a_malformed_line_is_named_by_file_and_number(tmp_path):
    file = tmp_path / "mine"
    file.write_text("A=b\nsecret words\n")
    with pytest.raises(BadUsage, match=f"{file}:2: ") as refused:
        choice(env_from=str(file))
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("name", ["missing", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path, name):
    with pytest.raises(NamedObjectMissing, match=name):
        choice(env_from=str(tmp_path / name))
