"""Files with the child's variables: whole, private, and never through what is not the user's own."""

from __future__ import annotations

import json
import os
import stat

import pytest

from telepresence_py.environment.dotenv import read_dotenv
from telepresence_py.environment.formats import write as write_format
from telepresence_py.model.errors import PreconditionFailed
from telepresence_py.model.events import Level
from telepresence_py.model.intent import ENV_FORMATS, EnvironmentChoice
from telepresence_py.session.environment_files import require_environment_files, write_environment_files

VARIABLES = {"B": "it's\n", "A": "", "RAW": "\udcff"}


def write(**options):
    told = []
    choice = EnvironmentChoice(**{name: str(value) for name, value in options.items()})
    require_environment_files(choice)
    write_environment_files(choice, VARIABLES, told.append)
    return told


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_both_files_hold_the_variables_and_are_the_users_alone(tmp_path):
    dotenv, as_json = tmp_path / ".env", tmp_path / "env.json"
    (told,) = write(env_file=dotenv, env_json=as_json)
    assert read_dotenv(dotenv.read_text()) == {"A": "", "B": "it's\n"}
    assert json.loads(as_json.read_text()) == VARIABLES
    assert (mode(dotenv), mode(as_json)) == (0o600, 0o600)
    assert sorted(os.listdir(tmp_path)) == [".env", "env.json"]
    assert told.level is Level.WARNING
    unheld = "'RAW' (values that are not UTF-8)"
    assert told.text == f"{dotenv} (dotenv) does not hold {unheld}; --env-json FILE holds every variable"


@pytest.mark.parametrize("form", ENV_FORMATS)
def test_a_file_of_every_format_is_written_and_the_users_alone(form, tmp_path):
    write(env_file=tmp_path / "env", env_format=form)
    assert (tmp_path / "env").read_bytes() == write_format(form, VARIABLES).content
    assert mode(tmp_path / "env") == 0o600


def test_what_a_format_cannot_hold_is_named_with_the_reason_and_never_its_value(tmp_path):
    (told,) = write(env_file=tmp_path / "env", env_format="docker")
    assert (tmp_path / "env").read_text() == "A=\n"
    assert "'B' (values of several lines), 'RAW' (values that are not UTF-8)" in told.text
    assert "it's" not in told.text


def test_what_json_holds_is_everything_and_nothing_is_told(tmp_path):
    assert write(env_file=tmp_path / "env", env_format="json") == []
    assert json.loads((tmp_path / "env").read_text()) == VARIABLES


def test_a_file_of_the_users_is_replaced_and_becomes_private(tmp_path):
    path = tmp_path / ".env"
    path.write_text("OLD=1\n")
    path.chmod(0o644)
    write(env_file=path)
    assert "OLD" not in path.read_text()
    assert mode(path) == 0o600


def test_what_a_killed_session_left_aside_is_replaced(tmp_path):
    (tmp_path / "..env.telepresence-py").write_text("half")
    write(env_file=tmp_path / ".env")
    assert os.listdir(tmp_path) == [".env"]


def test_a_link_is_refused_and_what_it_leads_to_untouched(tmp_path):
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / ".env").symlink_to(target)
    with pytest.raises(PreconditionFailed, match="no plain file"):
        write(env_file=tmp_path / ".env")
    assert target.read_text() == "precious"


def test_a_pipe_or_a_directory_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(PreconditionFailed, match="no plain file"):
            write(env_json=path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_somebody_else_is_refused(tmp_path):
    path = tmp_path / ".env"
    path.write_text("theirs")
    os.chown(path, 4242, 4242)
    with pytest.raises(PreconditionFailed, match="somebody else"):
        write(env_file=path)


def test_a_directory_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(PreconditionFailed, match="there is no directory"):
        write(env_file=tmp_path / "nowhere" / ".env")


def test_a_file_as_directory_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PreconditionFailed, match="file"):
        write(env_file=tmp_path / "file" / ".env")


def test_a_directory_where_nobody_may_write_is_refused():
    with pytest.raises(PreconditionFailed, match="cannot write"):
        write(env_file="/proc/self/env")
