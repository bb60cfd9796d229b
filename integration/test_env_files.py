"""The environment as files: written for the user before the command begins, and read on top of the pod's."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dotenv
import pytest

from integration.probe.town import JSON_BLOB, MULTI_LINE
from integration.support.aftermath import Before, assert_nothing_touched, remember
from integration.support.namespaces import Namespace
from integration.support.product import Product

Place = Callable[[str], Path]
SHOW = """import json, os, sys
assert os.path.getsize(sys.argv[1])
json.dump(dict(os.environ), sys.stdout)
"""


@dataclass(frozen=True)
class Written:
    """What a swap with all three options wrote, and what its child saw."""

    env_file: Path
    env_json: Path
    child: dict[str, str]

    @property
    def told(self) -> dict[str, str]:
        told: dict[str, str] = json.loads(self.env_json.read_text())
        return told


@pytest.fixture(scope="module")
def place(townsman: Product) -> Place:
    """`place("x")`: a path of that name in a directory of the user's own."""
    directory = townsman.directory / "environment"
    directory.mkdir()
    townsman.user.give(directory)
    return lambda name: directory / name


@pytest.fixture(scope="module")
def written(town: Namespace, townsman: Product, place: Place) -> Written:
    mine = place("mine")
    mine.write_text("# mine\nexport PLAIN='laid over'\nMORE=\"two\nlines\"\nPYTHONPATH=/mine\n")
    mine.chmod(0o644)
    env_file, env_json = place(".env"), place("env.json")
    options = ["--env-file", str(env_file), "--env-json", str(env_json), "--env-from", str(mine)]
    child = [townsman.python, "-I", "-c", SHOW, str(env_file)]
    ended = townsman.run("swap", "target", "--ready", "now", *options, "--", *child, seconds=90)
    assert ended.code == 0, ended.err
    return Written(env_file, env_json, json.loads(ended.out))


@pytest.fixture
def untouched(town: Namespace) -> Iterator[Before]:
    before = remember(town, "target")
    yield before
    assert_nothing_touched(before)


def test_the_files_are_there_before_the_command_begins_and_stay_for_the_user_alone(
    written: Written, townsman: Product
) -> None:
    """The command itself looked for the first one."""
    for path in (written.env_file, written.env_json):
        facts = path.stat()
        assert stat.S_IMODE(facts.st_mode) == 0o600
        assert facts.st_uid == townsman.user.uid


def test_the_files_hold_what_the_child_has_of_the_pod_and_nothing_of_the_laptop(written: Written) -> None:
    told = written.told
    assert told["MULTI_LINE"] == MULTI_LINE
    assert told["JSON_BLOB"] == JSON_BLOB
    assert told["EMPTY"] == ""
    assert told["TOKEN"] == "s3cret-of-the-test"
    assert {"PATH", "HOME", "KUBECONFIG", "XDG_RUNTIME_DIR"} & told.keys() == set()
    assert {name: written.child.get(name) for name in told} == told


def test_variables_of_a_file_are_laid_over_the_pods_and_the_laptops(written: Written) -> None:
    assert written.child["PLAIN"] == "laid over"
    assert written.child["MORE"] == "two\nlines"
    assert written.child["PYTHONPATH"] == "/mine"
    assert written.child["EMPTY"] == ""


def test_python_dotenv_reads_the_file_back(written: Written) -> None:
    assert dotenv.dotenv_values(written.env_file, interpolate=False) == written.told


def test_a_malformed_line_is_refused_by_its_number_before_anything_is_touched(
    townsman: Product, place: Place, untouched: Before
) -> None:
    place("bad").write_text("A=b\nthis is s3cret\n")
    ended = townsman.run("swap", "target", "--env-from", str(place("bad")), "--", "true", seconds=10)
    assert ended.code == 2
    assert f"{place('bad')}:2:" in ended.err
    assert "s3cret" not in ended.err


def test_a_file_to_read_that_is_not_there_is_named(townsman: Product, place: Place) -> None:
    ended = townsman.run("swap", "target", "--env-from", str(place("nowhere")), "--", "true", seconds=10)
    assert ended.code == 66
    assert str(place("nowhere")) in ended.err


@pytest.mark.parametrize("option", ["--env-file", "--env-json"])
@pytest.mark.parametrize("path", ["/proc/environment", "/no/such/directory/environment", "link"])
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_touched(
    townsman: Product, place: Place, untouched: Before, option: str, path: str
) -> None:
    """A link is not followed, wherever it leads; a path with a slash is one where nobody may write."""
    target = place("target of the link")
    target.write_text("precious")
    link = place("link")
    link.unlink(missing_ok=True)
    link.symlink_to(target)
    asked = str(link) if path == "link" else path
    ended = townsman.run("swap", "target", option, asked, "--", "true")
    assert ended.code == 78, ended.err
    assert asked in ended.err
    assert target.read_text() == "precious"
