"""The shape of the code that CONTRIBUTING.md asks for, where a tool can tell."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = (ROOT / "telepresence_py", ROOT / "sidecar" / "telepresence_sidecar")
MODULES = sorted(path for package in PACKAGES for path in package.rglob("*.py"))
TEST_HOMES = {
    "telepresence_py": "tests/telepresence_py",
    "telepresence_sidecar": "tests/telepresence_sidecar",
}


@pytest.fixture(params=MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def module(request):
    return request.param


def test_a_module_is_at_most_400_lines(module):
    assert len(module.read_text().splitlines()) <= 400


def test_a_function_is_at_most_60_lines(module):
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    too_long = {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, functions) and node.end_lineno - node.lineno + 1 > 60
    }
    assert too_long == {}


@pytest.mark.parametrize("package", sorted({path.parent for path in MODULES}), ids=lambda path: path.name)
def test_a_package_says_what_it_is_for(package):
    assert ast.get_docstring(ast.parse((package / "__init__.py").read_text()))


def test_tests_stand_where_their_room_stands():
    rooms = {
        path.parent.relative_to(package.parent) for package in PACKAGES for path in package.rglob("*.py")
    }
    homes = {Path(*room.parts) for room in rooms}
    for name, home in TEST_HOMES.items():
        for directory in (ROOT / home).rglob("test_*.py"):
            assert Path(name, *directory.parent.relative_to(ROOT / home).parts) in homes


@pytest.mark.parametrize("tests", ["tests", "integration"])
def test_the_files_of_tests_that_are_known_to_take_long_are_there(tests):
    """Else they would begin whenever their turn comes."""
    found = re.search(r"LONG_FILES = \((.*?)\)", (ROOT / tests / "conftest.py").read_text(), re.DOTALL)
    assert found
    names = re.findall(r'"(.+?)"', found[1])
    assert len(names) > 10
    assert [name for name in names if not list((ROOT / tests).rglob(name))] == []
