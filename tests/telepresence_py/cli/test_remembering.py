from __future__ import annotations

import errno
import os
import tomllib

import pytest

from telepresence_py.cli.remembering import remember_image, with_image
from telepresence_py.model.errors import PreconditionFailed
from telepresence_py.settings import parse_settings

NEW = "registry.example/new:1"
SETTINGS = """\
# mine, all of it
protected_contexts = ["prod-*"]  # ask me

[contexts."dev-eu"]
image = "registry.example/old:1" # from the team
"""


@pytest.mark.parametrize(
    "text", ["", SETTINGS, "[contexts]\n", '[contexts.a]\nimage = "b:1"', "[contexts.dev-eu]"]
)
@pytest.mark.parametrize("context", [None, "dev-eu", "arn:aws:eks:eu:1:cluster/x.y", 'we"ird'])
def test_only_the_image_changes(text, context):
    expected = tomllib.loads(text)
    table = expected if context is None else expected.setdefault("contexts", {}).setdefault(context, {})
    table["image"] = NEW
    changed = with_image(text, context, NEW)
    assert tomllib.loads(changed) == expected
    assert with_image(changed, context, NEW) == changed


def test_comments_and_layout_stay():
    assert with_image(SETTINGS, "dev-eu", NEW) == SETTINGS.replace("registry.example/old:1", NEW)
    assert with_image(SETTINGS, "dev-us", NEW).startswith(SETTINGS)


def test_the_file_is_made_with_its_directory_for_the_user_alone(tmp_path):
    path = tmp_path / "new" / "telepresence-py" / "config.toml"
    remember_image(path, "dev", NEW)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    chosen = parse_settings(path, path.read_text()).image_for("dev")
    assert chosen is not None
    assert chosen.reference == NEW


def test_a_link_and_the_files_mode_stay_and_nothing_else_lies_beside(tmp_path):
    real = tmp_path / "dotfiles"
    real.mkdir()
    (real / "config.toml").write_text(SETTINGS)
    (real / "config.toml").chmod(0o644)
    (tmp_path / "config.toml").symlink_to(real / "config.toml")
    remember_image(tmp_path / "config.toml", None, NEW)
    assert (tmp_path / "config.toml").is_symlink()
    assert NEW in (real / "config.toml").read_text()
    assert (real / "config.toml").stat().st_mode & 0o777 == 0o644
    assert [path.name for path in real.iterdir()] == ["config.toml"]


@pytest.mark.parametrize(
    ("text", "context"),
    [('contexts = {dev = {image = "a:1"}}', "prod"), ("contexts = [", "prod"), ("image = 1", None)],
)
def test_a_file_that_cannot_be_changed_stays(tmp_path, text, context):
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(PreconditionFailed, match=r"config\.toml"):
        remember_image(path, context, NEW)
    assert path.read_text() == text


def test_a_write_that_fails_at_its_end_leaves_the_old_file_alone(tmp_path, monkeypatch):
    path = tmp_path / "config.toml"
    path.write_text(SETTINGS)

    def full(_source, _target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(PreconditionFailed, match="No space left"):
        remember_image(path, "dev", NEW)
    assert path.read_text() == SETTINGS
    assert [file.name for file in tmp_path.iterdir()] == ["config.toml"]


def test_what_to_write_by_hand_is_said(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text('contexts = {dev = {image = "a:1"}}')
    with pytest.raises(PreconditionFailed, match=rf'write image = "{NEW}" below \[contexts\."prod"\] there'):
        remember_image(path, "prod", NEW)
