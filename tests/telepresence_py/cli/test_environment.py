"""The options on the environment, as values."""

from __future__ import annotations

import pytest

from telepresence_py.cli.environment import environment_choice
from telepresence_py.environment.dotenv import dotenv_line
from telepresence_py.model.errors import BadUsage, NamedObjectMissing
from telepresence_py.model.intent import EnvironmentChoice


def choice(**options):
    single = dict.fromkeys(("env_file", "env_json", "env_from", "env_format"))
    repeatable = dict.fromkeys(("env_include", "env_exclude", "env", "unset"), ())
    return environment_choice(single | repeatable | options)


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


def test_the_options_are_taken_apart():
    asked = choice(
        env_file="/x/e",
        env_format="fish",
        env_include=("DB_*", "PORT", "DB_*"),
        env_exclude=("*_URL",),
        unset=("AWS_*",),
    )
    assert asked == EnvironmentChoice(
        "/x/e", env_format="fish", include=("DB_*", "PORT"), exclude=("*_URL",), unset=("AWS_*",)
    )


def test_env_wins_over_the_file_and_unset_over_the_file_alone(tmp_path):
    file = tmp_path / "mine"
    file.write_text("A=file\nB=file\nAWS_PROFILE=file\nAWS_REGION=file\n")
    asked = choice(env_from=str(file), env=("A=typed", "AWS_REGION=typed"), unset=("AWS_*",))
    assert asked.laid_over == {"A": "typed", "B": "file", "AWS_REGION": "typed"}


@pytest.mark.parametrize(
    ("word", "name", "value"),
    [
        ("A=b", "A", "b"),
        ("A=", "A", ""),
        ("A==b=c", "A", "=b=c"),
        ("A= b ", "A", " b "),
        ("A='b'", "A", "'b'"),
        ("A=b\nc", "A", "b\nc"),
        ("A=\udcff", "A", "\udcff"),
        ("my.dotted-name=x", "my.dotted-name", "x"),
        ("_=x", "_", "x"),
    ],
)
def test_what_stands_behind_the_first_equals_sign_is_the_value_as_it_is(word, name, value):
    assert choice(env=(word,)).laid_over == {name: value}


def test_of_two_assignments_of_a_name_the_later_holds():
    assert choice(env=("A=1", "B=2", "A=3")).laid_over == {"A": "3", "B": "2"}


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("A=1", "s3cret"), "--env number 2 has no '=': write NAME=VALUE"),
        (("",), "number 1"),
        (("=s3cret",), "names are made of letters"),
        (("A =s3cret",), "did you mean A?"),
        (("1A=s3cret",), "do not begin with a digit"),
        (("A/B=s3cret",), "did you mean AB?"),
    ],
)
def test_a_malformed_assignment_is_refused_without_its_value(words, hint):
    with pytest.raises(BadUsage) as refused:
        choice(env=words)
    assert hint in str(refused.value)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("option", ["env_include", "env_exclude", "unset"])
@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("", "is neither a name nor a glob; write for example 'DB_*'"),
        ("A=s3cret", "{} takes a name and no value: write {} A"),
        ("=s3cret", "{} takes a name and no value: write {} 'DB_*'"),
        ("A,B", "write {} A {} B"),
        ("A;B*;C", "write {} A {} B* {} C"),
        ("A B", "write {} A {} B"),
        (" A", "did you mean A?"),
        ("A;", "did you mean A?"),
        ("DB_[AB", "is neither a name nor a glob"),
        ("DB_[]", "is neither a name nor a glob"),
    ],
)
def test_a_malformed_glob_is_refused(option, word, hint):
    with pytest.raises(BadUsage) as refused:
        choice(**{option: ("A*", word)})
    assert hint.replace("{}", f"--{option.replace('_', '-')}") in str(refused.value)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("word", ["A", "*", "A?_*", "[AB]*", "[!A]*", "a.b-c", "ü"])
def test_names_and_globs_are_taken(word):
    assert choice(unset=(word,)).unset == (word,)


def test_a_name_that_is_set_and_unset_is_refused():
    with pytest.raises(BadUsage, match="--env sets A and --unset takes it away"):
        choice(env=("A=1",), unset=("B", "A"))


def test_a_name_may_be_set_beside_a_glob_that_unsets_it():
    assert choice(env=("AWS_REGION=x",), unset=("AWS_*",)).laid_over == {"AWS_REGION": "x"}


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("pwsh", "did you mean 'powershell'?"),
        ("bash", "did you mean 'shell'?"),
        ("JSON", "did you mean 'json'?"),
        ("dokcer", "did you mean 'docker'?"),
        ("yaml", "there are dotenv, json, shell, fish, powershell and docker"),
        ("", "there are dotenv"),
    ],
)
def test_an_unknown_format_is_refused_with_the_nearest(word, hint):
    with pytest.raises(BadUsage) as refused:
        choice(env_file="/x", env_format=word)
    assert hint in str(refused.value)


def test_a_format_without_a_file_is_refused():
    with pytest.raises(BadUsage, match="add --env-file FILE"):
        choice(env_json="/x", env_format="shell")


def test_without_a_format_a_file_is_dotenv():
    assert choice(env_file="/x").env_format == "dotenv"


@pytest.mark.parametrize(
    ("form", "word", "reason"),
    [
        ("docker", "CERT=s3cret\ns3cret", "'CERT' (values of several lines)"),
        ("docker", "CERT=s3cret\r", "'CERT' (values that end in a carriage return)"),
        ("dotenv", "RAW=s3cret\udcff", "'RAW' (values that are not UTF-8)"),
        ("shell", "a.b=s3cret", "'a.b' (names that it does not take)"),
        ("shell", "UID=s3cret", "'UID' (names that the shell keeps for itself)"),
        ("fish", "status=s3cret", "'status' (names that the shell keeps for itself)"),
        ("powershell", "RAW=s3cret\udcff", "'RAW' (values that are not UTF-8)"),
    ],
)
def test_what_the_format_cannot_hold_of_ones_own_variables_is_refused(form, word, reason, tmp_path):
    mine = tmp_path / "mine"
    mine.write_bytes(dotenv_line(*word.partition("=")[::2]).encode("utf-8", "surrogateescape"))
    for given in ({"env": (word,)}, {"env_from": str(mine)}):
        with pytest.raises(BadUsage) as refused:
            choice(env_file="/x", env_format=form, **given)
        assert reason in str(refused.value)
        assert "s3cret" not in str(refused.value)
        assert choice(env_json="/x", **given).laid_over


def test_one_s_own_variables_that_the_format_holds_are_taken():
    assert choice(env_file="/x", env_format="shell", env=("A=b\nc\udcff",)).laid_over
