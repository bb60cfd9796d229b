from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from telepresence_py.environment.merging import KEPT, given, left_out, merge, stays_the_laptops


def words(text: str) -> list[str]:
    return text.split()


DOCUMENT = Path(__file__).parents[3] / "docs" / "environment.md"


def test_the_pods_value_wins_over_the_laptops() -> None:
    assert merge({"DB_HOST": "orders-db"}, {"DB_HOST": "127.0.0.1"}) == {"DB_HOST": "orders-db"}


def test_the_laptops_other_variables_remain() -> None:
    assert merge({"A": "pod"}, {"EDITOR": "vi"}) == {"A": "pod", "EDITOR": "vi"}


@pytest.mark.parametrize(
    "name",
    words(
        "PATH HOME PWD OLDPWD SHELL USER LOGNAME TERM TMPDIR PYTHONPATH PYTHONHOME VIRTUAL_ENV "
        "JAVA_HOME JAVA_TOOL_OPTIONS GOPATH GOROOT NODE_OPTIONS NODE_PATH LD_PRELOAD DISPLAY "
        "PYDEVD_LOAD_VALUES_ASYNC VSCODE_PID XDG_RUNTIME_DIR SSH_AUTH_SOCK npm_config_prefix"
    ),
)
def test_what_describes_the_machine_stays_the_laptops(name: str) -> None:
    assert merge({name: "pod"}, {name: "laptop"}) == {name: "laptop"}
    assert merge({name: "pod"}, {}) == {}


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
    assert merge({name: "pod"}, {name: "laptop"}) == {name: "pod"}


def test_what_the_user_lays_over_wins_over_pod_and_laptop_whatever_its_name() -> None:
    pod, laid_over = {"A": "pod", "B": "pod", "PATH": "pod"}, {"A": "mine", "PATH": "mine"}
    assert given(pod, laid_over) == {"A": "mine", "B": "pod", "PATH": "mine"}
    assert merge(pod, {"A": "laptop", "PATH": "laptop"}, laid_over)["PATH"] == "mine"


def test_what_is_given_holds_nothing_of_the_laptops() -> None:
    assert given({"A": "pod", "PATH": "pod"}, {}) == {"A": "pod"}


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
        [sys.executable, "-I", "-c", question], env=merge(pod, os.environ), capture_output=True, check=True
    )
    assert answer.stdout.decode().strip() == ascii([os.fsencode(value) for value in pod.values()])


def test_the_document_lists_what_the_code_keeps() -> None:
    rows = re.findall(r"^\| ([^|]+) \| (`[^|]+`) \|$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    documented = [(concern, tuple(re.findall("`([^`]+)`", patterns))) for concern, patterns in rows]
    assert documented == [(group.concern, group.patterns) for group in KEPT]


def test_no_pattern_is_listed_twice() -> None:
    patterns = [pattern for group in KEPT for pattern in group.patterns]
    assert len(patterns) == len(set(patterns))
