"""What the child is started with, and what is told of slips of the pen."""

from __future__ import annotations

import json

import pytest

from telepresence_py.model.events import Level
from telepresence_py.model.intent import EnvironmentChoice
from telepresence_py.session.child_environment import child_environment, slips

POD = {"DB_HOST": "pod", "DB_PORT": "pod", "JAVA_HOME": "/pod"}


def test_the_child_has_what_the_file_has_and_the_laptops_variables(tmp_path, monkeypatch):
    monkeypatch.setenv("OF_THE_LAPTOP", "laptop")
    monkeypatch.setenv("AWS_PROFILE", "laptop")
    choice = EnvironmentChoice(
        env_json=str(tmp_path / "json"), laid_over={"A": "mine"}, exclude=("*_PORT",), unset=("AWS_*",)
    )
    child = child_environment(choice, POD, lambda _event: None)
    given = {"A": "mine", "DB_HOST": "pod"}
    assert json.loads((tmp_path / "json").read_text()) == given
    assert child.items() >= {**given, "OF_THE_LAPTOP": "laptop"}.items()
    assert {"AWS_PROFILE", "DB_PORT"} & child.keys() == set()


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        (EnvironmentChoice(), []),
        (EnvironmentChoice(include=("DB_*",), exclude=("*_PORT",)), []),
        (
            EnvironmentChoice(include=("DB_HOSTT",)),
            ["--env-include DB_HOSTT matches no variable of the pod; did you mean DB_HOST?"],
        ),
        (
            EnvironmentChoice(exclude=("db_port",)),
            ["--env-exclude db_port matches no variable of the pod; did you mean DB_PORT?"],
        ),
        (EnvironmentChoice(exclude=("XYZ*",)), ["--env-exclude XYZ* matches no variable of the pod"]),
        (
            EnvironmentChoice(include=("JAVA_*", "DB_*")),
            ["--env-include JAVA_* matches only what stays as it is on the laptop; --env sets it"],
        ),
        (EnvironmentChoice(exclude=("JAVA_*",), unset=("NOBODYS",)), []),
    ],
)
def test_a_choice_that_chooses_nothing_of_the_pods_is_told_with_the_nearest_name(choice, told):
    assert list(slips(choice, POD)) == told


def test_what_is_told_does_not_end_the_session():
    events = []
    child_environment(EnvironmentChoice(include=("DBHOST",)), POD, events.append)
    assert [event.level for event in events if event.name == "environment-unmatched"] == [Level.NOTICE]
