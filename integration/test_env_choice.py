"""What of the pod's environment is taken, what is set and unset, and files in formats that others read."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from integration.probe.languages import Builder
from integration.probe.town import JSON_BLOB, MULTI_LINE
from integration.support.namespaces import Namespace
from integration.support.plain_user import SYSTEM_PATH
from integration.support.product import Finished, Product
from integration.support.programs import Need

RUNTIMES = ("bash", "python", "static", "node")
"""Whose variables a child sees, beside those of a shell: `static` is Go."""
LAPTOP = {
    "AWS_PROFILE": "laptop",
    "AWS_REGION": "laptop",
    "PLAIN": "laptop",
    "TOKEN": "laptop",
    "TYPED": "laptop",
}
SHOW = """import json, subprocess, sys
listed = subprocess.run(["bash", "-c", "exec env -0"], stdout=subprocess.PIPE, check=True).stdout.decode()
print(json.dumps({"is": dict(line.split("=", 1) for line in listed.split("\\0") if line)}), flush=True)
for program in json.loads(sys.argv[1]):
    subprocess.run(program, input=b'{"ask": "environment"}\\n', check=True)
"""
"""A child that shows, in a line for each runtime, which variables that has."""


@dataclass(frozen=True)
class Ended:
    """A session that wrote its variables to a file of a format, and to one of JSON."""

    finished: Finished
    env_file: Path
    env_json: Path

    @property
    def told(self) -> dict[str, str]:
        told: dict[str, str] = json.loads(self.env_json.read_text())
        return told


@pytest.fixture(scope="module")
def directory(townsman: Product) -> Path:
    directory = townsman.directory / "choice"
    directory.mkdir()
    return townsman.user.give(directory)


def session(
    townsman: Product, directory: Path, form: str, *words: str, environment: Mapping[str, str] | None = None
) -> Ended:
    """`WORDS`, which end with the child's, and files of the form and of JSON before them."""
    env_file, env_json = directory / f"env.{form}", directory / f"{form}.json"
    files = ("--env-file", str(env_file), "--env-format", form, "--env-json", str(env_json))
    finished = townsman.run(words[0], *files, *words[1:], environment=environment, seconds=120)
    assert finished.code == 0, finished.err
    return Ended(finished, env_file, env_json)


def seen_by(command: Sequence[str], path: Path, names: Sequence[str]) -> dict[str, str | None]:
    """What of the names is in the environment of a shell, or what it becomes, that has read the file."""
    done = subprocess.run(
        [*command, str(path)], env={"PATH": SYSTEM_PATH, "HOME": "/"}, capture_output=True, check=True
    )
    assert done.stderr == b""
    seen = dict(os.fsdecode(line).split("=", 1) for line in done.stdout.split(b"\0") if line)
    return {name: seen.get(name) for name in names}


@pytest.fixture(scope="module")
def chosen(town: Namespace, townsman: Product, directory: Path, builder: Builder) -> Ended:
    """A run with every option; its child shows the variables that each runtime has, a line for each."""
    mine = directory / "mine"
    mine.write_text("TYPED=file\nREAD=file\nAWS_PROFILE=file\n")
    mine.chmod(0o644)
    programs = [list(builder.probe(runtime, townsman)) for runtime in RUNTIMES if runtime != "bash"]
    options = [
        *(
            "--env-include",
            "P*",
            "--env-include",
            "*_L[IJ]NE",
            "--env-include",
            "SET_*",
            "--env-include",
            "JSON_?LOB",
        ),
        *(
            "--env-include",
            "TOKE",
            "--env-include",
            "HOME",
            "--env-exclude",
            "POD_*",
            "--env-exclude",
            "SET_colour",
        ),
        *("--env-from", str(mine), "--env", "TYPED=typed = twice", "--env", "AWS_REGION=two\nlines"),
        *("--unset", "AWS_*", "--unset", "PROBE_WHO"),
    ]
    child = [townsman.python, "-I", "-c", SHOW, json.dumps(programs)]
    return session(
        townsman, directory, "shell", "run", "--like", "target", *options, "--", *child, environment=LAPTOP
    )


@pytest.fixture(scope="module", params=RUNTIMES)
def variables(chosen: Ended, request: pytest.FixtureRequest) -> dict[str, str]:
    """What a child in that runtime has."""
    line = chosen.finished.out.splitlines()[RUNTIMES.index(request.param)]
    answer: dict[str, str] = json.loads(line)["is"]
    return answer


def test_of_the_pods_variables_those_are_there_that_the_globs_choose(variables: dict[str, str]) -> None:
    assert variables["PLAIN"] == "a value"
    assert variables["MULTI_LINE"] == MULTI_LINE
    assert variables["JSON_BLOB"] == JSON_BLOB
    assert variables["SET_shape.txt"] == "round\nand long\n"
    gone = {"POD_NAME", "POD_IP", "SET_colour", "COMPOSED", "EMPTY", "CRED_token", "KUBERNETES_SERVICE_HOST"}
    assert gone & variables.keys() == set()


def test_a_variable_that_is_not_chosen_is_the_laptops_own(variables: dict[str, str]) -> None:
    assert variables["TOKEN"] == "laptop"


def test_what_is_typed_wins_over_the_file_and_the_file_over_the_rest(variables: dict[str, str]) -> None:
    assert variables["TYPED"] == "typed = twice"
    assert variables["READ"] == "file"


def test_what_is_unset_is_not_there_unless_it_is_set_by_name(variables: dict[str, str]) -> None:
    assert "AWS_PROFILE" not in variables
    assert variables["AWS_REGION"] == "two\nlines"


def test_a_choice_that_chooses_nothing_is_told(chosen: Ended) -> None:
    assert "--env-include TOKE matches no variable of the pod; did you mean TOKEN?" in chosen.finished.err
    assert "--env-include HOME matches only what stays as it is on the laptop" in chosen.finished.err


def test_the_files_hold_what_was_chosen_and_nothing_of_the_laptop(chosen: Ended) -> None:
    chosen_names = {"PLAIN", "MULTI_LINE", "JSON_BLOB", "SET_shape.txt", "TYPED", "READ", "AWS_REGION"}
    assert chosen_names <= chosen.told.keys()
    assert {"TOKEN", "HOME", "PYTHONPATH", "AWS_PROFILE", "POD_NAME"} & chosen.told.keys() == set()


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_a_shell_has_every_variable_of_its_file_but_the_one_that_was_named(chosen: Ended, shell: str) -> None:
    told = chosen.told
    assert "'SET_shape.txt' (names that it does not take)" in chosen.finished.err
    seen = seen_by([shell, "-c", '. "$1"; exec env -0', "sh"], chosen.env_file, [*told])
    assert seen == told | {"SET_shape.txt": None}


def test_fish_has_every_variable_of_its_file(townsman: Product, directory: Path, need: Need) -> None:
    need("fish")
    of_fish = session(
        townsman, directory, "fish", "run", "--like", "target", "--env-exclude", "*.*", "--", "true"
    )
    told = of_fish.told
    assert told["MULTI_LINE"] == MULTI_LINE
    command = ["fish", "--no-config", "-c", "source $argv[1]; exec env -0"]
    assert seen_by(command, of_fish.env_file, [*told]) == told


def test_a_file_for_docker_has_what_docker_can_hold_and_the_rest_is_named_even_if_quiet(
    town: Namespace, townsman: Product, directory: Path
) -> None:
    """The session is none the worse for it."""
    ended = session(
        townsman, directory, "docker", "swap", "target", "--quiet", "--ready", "now",
        "--", "sh", "-c", 'test -n "$MULTI_LINE"',
    )  # fmt: skip
    told, lines = ended.told, ended.env_file.read_text().split("\n")
    held = dict(line.split("=", 1) for line in lines if line)
    several = sorted(name for name, value in told.items() if "\n" in value)
    assert {"MULTI_LINE", "SET_shape.txt"} <= {*several}
    assert held == {name: value for name, value in told.items() if name not in several}
    assert held["JSON_BLOB"] == JSON_BLOB
    named = ", ".join(repr(name) for name in several)
    assert f"(docker) does not hold {named} (values of several lines)" in ended.finished.err
    assert "s3cret" not in ended.finished.err
    assert stat.S_IMODE(ended.env_file.stat().st_mode) == 0o600
