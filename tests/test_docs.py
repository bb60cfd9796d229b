"""What the documents say that a program can check."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import click
import pytest

from telepresence_py.cli.commands import cli
from telepresence_py.model.errors import TelepresenceError
from telepresence_py.model.intent import ENV_FORMATS

ROOT = Path(__file__).parent.parent
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document):
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text())
    assert [target for target in targets if not (document.parent / target).exists()] == []


def test_every_exit_code_of_an_error_is_documented():
    text = (ROOT / "docs" / "exit-codes.md").read_text()
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    assert {error.exit_code for error in TelepresenceError.__subclasses__()} == documented


def test_every_dependency_is_explained():
    text = (ROOT / "docs" / "dependencies.md").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [re.split(r"[<>=]", line)[0] for line in project["dependencies"]]
    assert [name for name in names if f"| {name} |" not in text] == []


def test_the_readme_names_only_commands_that_exist():
    text = (ROOT / "README.md").read_text()
    named = set(re.findall(r"telepresence-py ([a-z]+)", text))
    assert isinstance(cli, click.Group)
    assert named <= set(cli.commands)


def test_the_readme_names_only_options_that_exist():
    text = (ROOT / "README.md").read_text()
    swap = cli.commands["swap"]
    known = {option for parameter in swap.params for option in parameter.opts}
    rows = re.findall(r"^\| (`-.*?) \|", text, re.MULTILINE)
    named = {option for row in rows for option in re.findall(r"`(--?[a-z-]+)", row)}
    assert named
    assert named <= known


@pytest.mark.parametrize("command", ["swap", "run"])
def test_every_option_of_a_session_is_documented(command):
    """In the README, or in a page of docs/ itself."""
    text = "\n".join(path.read_text() for path in (ROOT / "README.md", *ROOT.glob("docs/*.md")))
    options = [
        parameter.opts for parameter in cli.commands[command].params if parameter.opts[0].startswith("-")
    ]

    def is_named(spellings):
        return any(re.search(rf"`[^`\n]*(?<![\w-]){spelling}(?![\w-])", text) for spelling in spellings)

    assert [spellings for spellings in options if not is_named(spellings)] == []


def test_the_formats_of_the_environment_are_documented_in_their_order():
    text = (ROOT / "docs" / "environment.md").read_text()
    table = text.partition("| `--env-format` |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `([a-z]+)`", table, re.MULTILINE) == [*ENV_FORMATS]


def test_the_documents_name_no_option_on_the_environment_that_is_not_there():
    text = "\n".join(path.read_text() for path in DOCUMENTS)
    known = {option for parameter in cli.commands["swap"].params for option in parameter.opts}
    assert set(re.findall(r"(?<![\w-])--(?:env|unset)[a-z-]*", text)) <= known


def acceptance_rows():
    """Case and answer of each row of the tables of docs/conformance.md."""
    text = (ROOT / "docs" / "conformance.md").read_text().partition("## The same questions")[0]
    rows = re.findall(r"^\| (.+) \| (.+) \|$", text, re.MULTILINE)
    return [(case, answer) for case, answer in rows if case != "case"]


def functions_of(module):
    """Names of the functions at the top of a module; none where there is no such file."""
    path = ROOT / module
    body = ast.parse(path.read_text()).body if path.is_file() else []
    return {node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_test_that_an_acceptance_case_names_exists():
    """In the form `FILE::FUNCTION`, without the parameters."""
    text = (ROOT / "docs" / "conformance.md").read_text()
    named = set(re.findall(r"[\w./-]+::[\w:.\[\]-]+", text))
    assert named
    missing = []
    for name in sorted(named):
        module, _, function = name.partition("::")
        if not function.startswith("test_") or function not in functions_of(module):
            missing.append(name)
    assert missing == []


def test_every_acceptance_case_has_a_test_or_says_why_not():
    rows = acceptance_rows()
    assert len({case for case, _ in rows}) == len(rows) > 100
    answered = re.compile(r"`[\w/]+\.py::test_\w+`|\*\*not met\*\*[:,] |not shown[ :;]|does not apply: ")
    assert [case for case, answer in rows if not answered.search(answer)] == []


def test_the_differences_that_a_child_may_have_are_those_that_the_comparison_lets_pass():
    module = ast.parse((ROOT / "integration" / "test_inside_environment_and_files.py").read_text())
    allowed = set()
    for node in module.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).startswith("OF_"):
            allowed |= set(ast.literal_eval(node.value))
    text = (ROOT / "docs" / "conformance.md").read_text()
    (row,) = re.findall(r"^\| the environment \|.*$", text, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", row)) == allowed
