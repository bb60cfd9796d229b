"""Modules that are imported for a case that hardly ever comes. Each claim in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.fakes.sidecar_process import SOURCES

PRODUCT = SOURCES.parent


def answer(question: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", question],
        env={**os.environ, "PYTHONPATH": f"{SOURCES}:{PRODUCT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_module_that_was_put_off_is_executed_by_the_first_use_of_a_name_in_it() -> None:
    question = """
import sys
from telepresence_sidecar.late import put_off
put_off({"ast": {}, "no_such_module": {}})
import ast
first = type(ast).__name__
print(first, type(ast.parse("1")).__name__, type(ast).__name__, "no_such_module" in sys.modules)
"""
    assert answer(question) == "_Late Module module False"


def test_one_that_is_there_already_stays_as_it_is() -> None:
    question = """
import ast
from telepresence_sidecar.late import SELDOM_USED, put_off
whole = ast.NodeVisitor
put_off(SELDOM_USED)
import ast
print(ast.NodeVisitor is whole, type(ast).__name__)
"""
    assert answer(question) == "True module"


def test_what_has_put_them_off_can_still_use_them() -> None:
    question = """
from telepresence_sidecar.late import SELDOM_USED, put_off
put_off(SELDOM_USED)
import calendar, email.utils, idna, inspect, locale, subprocess
print(
    inspect.signature(len), idna.encode("b\u00fccher.example").decode(), calendar.monthrange(2026, 2)[1],
    subprocess.run(["true"], text=True, capture_output=True).returncode,
    bool(locale.getpreferredencoding(False)),
    email.utils.parsedate("Sat, 28 Nov 2026 23:00:00 +0000")[:3],
)
"""
    assert answer(question) == "(obj, /) xn--bcher-kva.example 28 0 True (2026, 11, 28)"


@pytest.mark.parametrize(
    "imports",
    [
        "telepresence_sidecar.__main__",
        "telepresence_py.session.__main__, telepresence_py.session.swap, telepresence_py.tunnel.connection",
        "telepresence_py.cli.main, telepresence_py.cli.conversation",
    ],
)
def test_neither_end_executes_what_it_hardly_ever_uses(imports: str) -> None:
    question = f"""
import sys
import {imports}
from telepresence_sidecar.late import SELDOM_USED
print([name for name in SELDOM_USED if name in sys.modules and type(sys.modules[name]).__name__ != "_Late"])
"""
    assert answer(question) == "[]"


def test_the_ways_through_a_socks_proxy_are_loaded_when_there_is_one() -> None:
    question = """
import sys
from telepresence_py.tunnel.lean_picows import load_picows
load_picows()
import picows.proxy as theirs
before = "python_socks.async_.asyncio" in sys.modules
made = theirs.Proxy.from_url("socks5://localhost:1080")
print(before, type(made).__module__.startswith("python_socks"))
"""
    assert answer(question) == "False True"
