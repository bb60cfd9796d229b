from __future__ import annotations

from pathlib import Path

import pytest

from telepresence_py.model.errors import PreconditionFailed
from telepresence_py.model.image import DEFAULT_IMAGE
from telepresence_py.settings import Settings, choose_image, line_of, parse_settings, read_settings

PATH = Path("/home/me/config.toml")
FULL = """
protected_contexts = [
    "prod-*",
    "live",
]
image = "registry.example/all:1"

[contexts."dev-*"]
image = "registry.example/pattern:1"

[contexts."dev-eu"]
image = "registry.example/eu:1"
[contexts.idle]
"""


def test_a_pattern_covers_the_whole_name_and_case_counts():
    settings = parse_settings(PATH, FULL)
    assert settings.protects("prod-eu")
    assert settings.protects("live")
    assert not settings.protects("my-prod-eu")
    assert not settings.protects("PROD-eu")
    assert not Settings(PATH).protects("prod-eu")


@pytest.mark.parametrize(
    ("context", "image"),
    [
        ("dev-eu", "registry.example/eu:1"),  # by name, though a pattern stands before it
        ("dev-us", "registry.example/pattern:1"),
        ("idle", "registry.example/all:1"),
        (None, "registry.example/all:1"),
    ],
)
def test_a_contexts_own_image_comes_before_that_of_all(context, image):
    chosen = parse_settings(PATH, FULL).image_for(context)
    assert chosen is not None
    assert chosen.reference == image
    assert str(PATH) in chosen.reason


def test_the_nearer_word_on_the_image_wins():
    settings = parse_settings(PATH, FULL)
    variable = {"TELEPRESENCE_PY_IMAGE": "r.example/variable:1"}
    assert choose_image("r.example/option:1", variable, settings, "dev-eu").reference == "r.example/option:1"
    assert choose_image(None, variable, settings, "dev-eu").reference == "r.example/variable:1"
    assert choose_image(None, {}, settings, "dev-eu").reference == "registry.example/eu:1"
    assert choose_image(None, {"TELEPRESENCE_PY_IMAGE": ""}, Settings(PATH), "x").reference == DEFAULT_IMAGE


def test_a_variable_that_names_no_image_is_refused():
    with pytest.raises(PreconditionFailed, match="TELEPRESENCE_PY_IMAGE"):
        choose_image(None, {"TELEPRESENCE_PY_IMAGE": "no image"}, Settings(PATH), None)


def test_the_file_is_below_xdg_config_home_or_home_and_may_be_missing(tmp_path):
    text = 'protected_contexts = ["a"]'
    for base, environment in (
        (tmp_path / "xdg", {"XDG_CONFIG_HOME": str(tmp_path / "xdg"), "HOME": str(tmp_path)}),
        (tmp_path / ".config", {"HOME": str(tmp_path)}),
        (tmp_path / ".config", {"XDG_CONFIG_HOME": "relative", "HOME": str(tmp_path)}),
    ):
        path = base / "telepresence-py" / "config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        assert read_settings(environment) == Settings(path)
        path.write_text(text)
        assert read_settings(environment).protected_contexts == ("a",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("protected_contexts = [", "line 1"),
        ('\nprotected_contexts = "prod-*"', "line 2: protected_contexts must be a list of patterns"),
        ("protected_contexts = [\n  1,\n]", "line 1: protected_contexts must be a list"),
        ("# one\n\nprotected_context = []", "line 3: there is no setting 'protected_context'; did you mean"),
        ("colour = 1", "there are protected_contexts, image, contexts"),
        ("image = 1", "line 1: image must name an image"),
        ('image = "a b"', "line 1: image must name an image"),
        ("contexts = 1", "line 1: contexts must be a table"),
        ("[contexts]\ndev = 1", "line 2: dev must be a table"),
        ('[contexts.dev]\nimage = "a:1"\n[contexts."x.y"]\nimage = ""', "line 4: image must name"),
        (
            '[contexts.dev]\n# why\nimages = "a:1"',
            "line 3: there is no setting 'images'; did you mean image?",
        ),
    ],
)
def test_what_cannot_be_understood_is_refused_with_file_and_line(text, words):
    with pytest.raises(PreconditionFailed) as refused:
        parse_settings(PATH, text)
    assert str(PATH) in str(refused.value)
    assert words in str(refused.value)


def test_a_file_that_is_not_text_is_refused(tmp_path):
    path = tmp_path / "telepresence-py" / "config.toml"
    path.parent.mkdir()
    path.write_bytes(b"image = \xff")
    with pytest.raises(PreconditionFailed, match=r"config\.toml"):
        read_settings({"XDG_CONFIG_HOME": str(tmp_path)})


def test_the_line_of_a_statement_is_where_it_begins():
    assert line_of(FULL, ("protected_contexts",)) == 2
    assert line_of(FULL, ("image",)) == 6
    assert line_of(FULL, ("contexts", "dev-eu", "image")) == 12
    assert line_of('a = 1\nb.c = """\n\n"""\n', ("b", "c")) == 2
