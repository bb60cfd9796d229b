"""The program that watches files, as the CLI starts it."""

from __future__ import annotations

import os
import select
import subprocess
import sys

import pytest

from telepresence_py.process.watcher import tasks
from telepresence_py.process.watching import Changed, Watcher, WatchFailed, Watching
from tests.fakes.terminal import DEADLINE_SECONDS
from tests.fakes.waiting import wait_until

LIMITED = """
import sys
for name, value in (("max_inotify_instances", sys.argv[1]), ("max_inotify_watches", sys.argv[2])):
    open(f"/proc/sys/user/{name}", "w").write(value)
from telepresence_py.process.watching import Changed, Watcher, Watching
watcher = Watcher([sys.argv[3]])
(said,) = watcher.read()
print(said, flush=True)
sys.stdin.readline()
print(*watcher.read(), flush=True)
watcher.close()
"""


@pytest.fixture
def watching():
    made = []

    def start(*paths) -> Watcher:
        watcher = Watcher([str(path) for path in paths])
        made.append(watcher)
        assert hears(watcher) == Watching()
        return watcher

    yield start
    for watcher in made:
        watcher.close()


def hears(watcher, seconds=DEADLINE_SECONDS):
    assert select.select([watcher], [], [], seconds)[0], "the watcher says nothing"
    (said,) = watcher.read()
    return said


def test_a_change_below_a_directory_is_told_with_its_path(watching, tmp_path):
    watcher = watching(tmp_path)
    (tmp_path / "deep").mkdir()
    assert hears(watcher) == Changed(str(tmp_path / "deep"))
    (tmp_path / "deep" / "module.py").write_text("1")
    assert hears(watcher) == Changed(str(tmp_path / "deep" / "module.py"))


def test_many_changes_at_once_are_told_once(watching, tmp_path):
    watcher = watching(tmp_path)
    for number in range(50):
        (tmp_path / f"{number:02}.py").write_text("1")
    assert hears(watcher) == Changed(str(tmp_path / "00.py"))
    assert not select.select([watcher], [], [], 0.3)[0]


def test_what_is_no_source_is_not_told(watching, tmp_path):
    for name in (".git", "node_modules", "__pycache__"):
        (tmp_path / name).mkdir()
    watcher = watching(tmp_path)
    for name in (".git/index", "node_modules/x.js", "__pycache__/x.pyc", "x.py~", ".x.py.swp"):
        (tmp_path / name).write_text("1")
    (tmp_path / "x.py").write_text("1")
    assert hears(watcher) == Changed(str(tmp_path / "x.py"))


def test_what_was_named_is_told_whatever_it_is_called(watching, tmp_path):
    below = tmp_path / "node_modules" / "mine"
    below.mkdir(parents=True)
    watcher = watching(below)
    (below / "index.js").write_text("1")
    assert hears(watcher) == Changed(str(below / "index.js"))


def test_a_file_is_watched_beyond_its_replacement_and_its_neighbours_are_not(watching, tmp_path):
    """Editors write a new file and rename it."""
    file = tmp_path / "settings.yaml"
    file.write_text("1")
    watcher = watching(file)
    for content in ("2", "3"):
        (tmp_path / "aside").write_text(content)
        (tmp_path / "aside").rename(file)
        assert hears(watcher) == Changed(str(file))


def test_files_and_directories_are_watched_side_by_side(watching, tmp_path):
    file, directory = tmp_path / "file", tmp_path / "directory"
    file.write_text("1")
    directory.mkdir()
    watcher = watching(file, directory)
    file.write_text("2")
    assert hears(watcher) == Changed(str(file))
    (directory / "new").write_text("1")
    assert hears(watcher) == Changed(str(directory / "new"))


@pytest.mark.parametrize(("instances", "watches"), [("0", "100"), ("10", "1")])
def test_at_the_kernels_limit_it_looks_itself_and_says_why(tmp_path, instances, watches):
    """The limits of a user namespace of the test's own."""
    for name in "abc":
        (tmp_path / name).mkdir()
    command = [
        "unshare",
        "--user",
        "--map-root-user",
        sys.executable,
        "-c",
        LIMITED,
        instances,
        watches,
        tmp_path,
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as limited:
        assert select.select([limited.stdout], [], [], DEADLINE_SECONDS)[0]
        said = limited.stdout.readline()
        assert said.startswith("Watching(polling='")
        assert not said.startswith("Watching(polling='')")
        (tmp_path / "b" / "new.py.swp").write_text("no source")
        (tmp_path / "b" / "new.py").write_text("1")
        limited.stdin.write("\n")
        limited.stdin.flush()
        assert select.select([limited.stdout], [], [], DEADLINE_SECONDS)[0]
        assert limited.stdout.readline() == f"Changed(path='{tmp_path / 'b' / 'new.py'}')\n"


def test_it_ends_with_the_line_to_it(tmp_path):
    watcher = Watcher([str(tmp_path)])
    assert hears(watcher) == Watching()
    (pid,) = [int(one) for one in children() if "telepresence_py.process.watcher" in command_of(one)]
    os.kill(pid, 9)
    assert isinstance(hears(watcher), WatchFailed)
    watcher.close()
    watcher.close()


def test_it_ends_with_the_process_that_started_it(tmp_path):
    program = (
        "import sys, os; from telepresence_py.process.watching import Watcher;"
        "w = Watcher([sys.argv[1]]); w.read(); print(w._program.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=False
    )
    pid = int(done.stdout)
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "the watcher is gone")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_directory_that_may_not_be_read_is_left_out(watching, tmp_path):
    (tmp_path / "closed").mkdir(mode=0)
    (tmp_path / "open").mkdir()
    watcher = watching(tmp_path)
    (tmp_path / "open" / "new").write_text("1")
    assert hears(watcher) == Changed(str(tmp_path / "open" / "new"))


def test_a_path_is_judged_by_what_stands_below_the_watched_one(tmp_path):
    (one,) = tasks([str(tmp_path)], lambda path: path.startswith("skip"))
    assert one.recursive
    assert one.matters(f"{tmp_path}/keep/skip")
    assert not one.matters(f"{tmp_path}/skip/keep")
    assert not one.matters(f"{tmp_path}-other/keep")


def children() -> list[str]:
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return file.read().split()


def command_of(pid: str) -> str:
    with open(f"/proc/{pid}/cmdline") as file:
        return file.read()
