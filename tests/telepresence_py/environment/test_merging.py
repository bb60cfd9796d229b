from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from telepresence_py.environment.merging import (
    KEPT,
    given,
    left_out,
    matches,
    merge,
    stays_the_laptops,
    with_method,
    without_effect,
)
from telepresence_py.model.intent import EnvironmentChoice

NO_CHOICE = EnvironmentChoice()


def words(text: str) -> list[str]:
    return text.split()


DOCUMENT = Path(__file__).parents[3] / "docs" / "environment.md"


def test_the_pods_value_wins_over_the_laptops() -> None:
    assert merge({"DB_HOST": "orders-db"}, {"DB_HOST": "127.0.0.1"}, NO_CHOICE) == {"DB_HOST": "orders-db"}


def test_the_laptops_other_variables_remain() -> None:
    assert merge({"A": "pod"}, {"EDITOR": "vi"}, NO_CHOICE) == {"A": "pod", "EDITOR": "vi"}


@pytest.mark.parametrize(
    "name",
    words(
        "PATH HOME PWD OLDPWD SHELL USER LOGNAME TERM TMPDIR PYTHONPATH PYTHONHOME VIRTUAL_ENV "
        "JAVA_HOME JAVA_TOOL_OPTIONS GOPATH GOROOT NODE_OPTIONS NODE_PATH LD_PRELOAD DISPLAY "
        "PYDEVD_LOAD_VALUES_ASYNC VSCODE_PID XDG_RUNTIME_DIR SSH_AUTH_SOCK npm_config_prefix"
    ),
)
def test_what_describes_the_machine_stays_the_laptops(name: str) -> None:
    assert merge({name: "pod"}, {name: "laptop"}, NO_CHOICE) == {name: "laptop"}
    assert merge({name: "pod"}, {}, NO_CHOICE) == {}


@pytest.mark.parametrize(
    "name",
    words(
        "HOSTNAME KUBERNETES_SERVICE_HOST LANG TZ GOMAXPROCS GOMEMLIMIT PYTHONUNBUFFERED NODE_ENV "
        "HTTP_PROXY SSH_PRIVATE_KEY NPM_TOKEN DOTNET_ENVIRONMENT MY_PATH PATHS HOMEPAGE TERMS USERNAME path "
        "my.dotted-name"
    ),
)
def test_what_describes_the_service_comes_from_the_pod(name: str) -> None:
    assert not stays_the_laptops(name)
    assert merge({name: "pod"}, {name: "laptop"}, NO_CHOICE) == {name: "pod"}


def test_what_the_user_lays_over_wins_over_pod_and_laptop_whatever_its_name() -> None:
    pod, choice = (
        {"A": "pod", "B": "pod", "PATH": "pod"},
        EnvironmentChoice(laid_over={"A": "mine", "PATH": "mine"}),
    )
    assert given(pod, choice) == {"A": "mine", "B": "pod", "PATH": "mine"}
    assert merge(pod, {"A": "laptop", "PATH": "laptop"}, choice)["PATH"] == "mine"


POD = {"DB_HOST": "pod", "DB_PORT": "pod", "PORT": "pod", "PATH": "pod"}


@pytest.mark.parametrize(
    ("choice", "taken"),
    [
        (NO_CHOICE, "DB_HOST DB_PORT PORT"),
        (EnvironmentChoice(include=("DB_*",)), "DB_HOST DB_PORT"),
        (EnvironmentChoice(include=("DB_HOST", "POR?")), "DB_HOST PORT"),
        (EnvironmentChoice(exclude=("DB_*",)), "PORT"),
        (EnvironmentChoice(exclude=("*PORT", "NOBODYS")), "DB_HOST"),
        (EnvironmentChoice(include=("DB_*",), exclude=("*_PORT",)), "DB_HOST"),
        (EnvironmentChoice(include=("*_[HQ]OST",)), "DB_HOST"),
        (EnvironmentChoice(include=("db_*", "DB", "B_")), ""),
        (EnvironmentChoice(include=("PATH", "PORT")), "PORT"),
        (EnvironmentChoice(exclude=("*",)), ""),
        (EnvironmentChoice(unset=("DB_PORT",)), "DB_HOST PORT"),
        (EnvironmentChoice(include=("DB_*",), unset=("*HOST",)), "DB_PORT"),
    ],
)
def test_globs_choose_among_the_pods_variables(choice: EnvironmentChoice, taken: str) -> None:
    assert given(POD, choice) == dict.fromkeys(taken.split(), "pod")


def test_a_variable_that_is_not_taken_from_the_pod_stays_as_the_laptop_has_it() -> None:
    choice, laptop = EnvironmentChoice(exclude=("DB_*",)), {"DB_HOST": "laptop", "EDITOR": "vi"}
    assert merge(POD, laptop, choice) == {"DB_HOST": "laptop", "EDITOR": "vi", "PORT": "pod"}


def test_what_is_unset_is_there_neither_from_the_pod_nor_from_the_laptop() -> None:
    choice, laptop = (
        EnvironmentChoice(unset=("DB_HOST", "AWS_*")),
        {"DB_HOST": "laptop", "AWS_PROFILE": "me", "A": "a"},
    )
    assert merge(POD, laptop, choice) == {"A": "a", "DB_PORT": "pod", "PORT": "pod"}


def test_what_is_laid_over_is_there_whatever_the_globs_say() -> None:
    choice = EnvironmentChoice(
        laid_over={"AWS_REGION": "mine", "X": "1"}, include=("DB_*",), exclude=("X",), unset=("AWS_*",)
    )
    merged = merge(POD, {"AWS_PROFILE": "me"}, choice)
    assert merged == {"DB_HOST": "pod", "DB_PORT": "pod", "AWS_REGION": "mine", "X": "1"}


def test_a_glob_is_for_the_whole_name_and_case_counts() -> None:
    assert matches("DB_HOST", ("DB_*",))
    for glob in ("DB", "HOST", "db_*", "DB_?"):
        assert not matches("DB_HOST", (glob,))


def test_globs_that_match_nothing_are_told_in_their_order() -> None:
    assert without_effect(("Z*", "DB_*", "A"), POD) == ("Z*", "A")


def test_what_is_given_holds_nothing_of_the_laptops() -> None:
    assert given({"A": "pod", "PATH": "pod"}, NO_CHOICE) == {"A": "pod"}


def test_names_that_were_left_out_are_told_sorted() -> None:
    assert left_out({"PATH": "/bin", "A": "1", "HOME": "/"}) == ("HOME", "PATH")


def test_a_pattern_does_not_match_across_a_line_end_or_a_longer_name() -> None:
    assert not stays_the_laptops("PATH\n")
    assert not stays_the_laptops("XPATH")


def test_odd_values_reach_a_process_byte_for_byte() -> None:
    pod = {
        "EMPTY": "",
        "KEY": "-----BEGIN-----\nab=\n-----END-----\n",
        "BYTES": b"caf\xe9\xff".decode("utf-8", "surrogateescape"),
        "EQUALS": "a=b=c",
        "my.dotted-name": "x",
        "KANJI": "注文",
    }
    question = (
        f"import os; print(ascii([os.environb[name] for name in {[os.fsencode(name) for name in pod]!r}]))"
    )
    answer = subprocess.run(
        [sys.executable, "-I", "-c", question],
        env=merge(pod, os.environ, NO_CHOICE),
        capture_output=True,
        check=True,
    )
    assert answer.stdout.decode().strip() == ascii([os.fsencode(value) for value in pod.values()])


def test_the_document_lists_what_the_code_keeps() -> None:
    rows = re.findall(r"^\| ([^|]+) \| (`[^|]+`) \|$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    documented = [(concern, tuple(re.findall("`([^`]+)`", patterns))) for concern, patterns in rows]
    assert documented == [(group.concern, group.patterns) for group in KEPT]


def test_no_pattern_is_listed_twice() -> None:
    patterns = [pattern for group in KEPT for pattern in group.patterns]
    assert len(patterns) == len(set(patterns))


def test_what_a_method_gives_is_over_pod_and_laptop_and_under_what_the_user_says():
    choice = EnvironmentChoice(include=("DB_*",), unset=("all_*",), laid_over={"NO_PROXY": "mine"})
    chosen = with_method(
        choice, {"HTTP_PROXY": "ours", "ALL_PROXY": "ours", "all_proxy": "ours", "NO_PROXY": "x"}
    )
    laptop = {"all_proxy": "the laptop's", "HTTP_PROXY": "the laptop's"}
    assert merge({"HTTP_PROXY": "the pod's", "DB_HOST": "db"}, laptop, chosen) == {
        "HTTP_PROXY": "ours",
        "ALL_PROXY": "ours",
        "NO_PROXY": "mine",
        "DB_HOST": "db",
    }
