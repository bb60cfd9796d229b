"""What a program inside can do in a live volume; the real kernel, a pod in memory."""

from __future__ import annotations

import errno
import fcntl
import filecmp
import mmap
import os
import sqlite3
import stat
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from telepresence_sidecar.contract.remote_files import Op, Request
from tests.conformance.tunnel_worlds import in_time
from tests.fakes.waiting import wait_until
from tests.telepresence_py.fuse.mounted import (
    Mounted,
    inside_volume,
    may_be_opened_by_all,
    needs_fuse,
    program,
    with_mounts,
)

pytestmark = needs_fuse


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    path = tmp_path / "volume"
    path.mkdir()
    return path


def errno_of(call: Callable[[], Any]) -> int:
    try:
        call()
    except OSError as error:
        return error.errno or -1
    return 0


def run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else f"{done.returncode}: {done.stdout}{done.stderr}"


def test_files_of_the_pod_are_read_as_they_are(volume: Path) -> None:
    (volume / "deep" / "er").mkdir(parents=True)
    (volume / "deep" / "er" / "file").write_bytes(b"content")
    (volume / "link").symlink_to("deep/er/file")
    (volume / "large").write_bytes(os.urandom(3_000_001))

    def look() -> Any:
        large = (volume / "large").read_bytes()
        return (volume / "link").read_bytes(), os.readlink(volume / "link"), sorted(os.listdir(volume)), large

    linked, target, names, large = inside_volume(volume, look)
    assert (linked, target, names) == (b"content", "deep/er/file", ["deep", "large", "link"])
    assert large == (volume / "large").read_bytes()


def test_what_is_written_is_in_the_pod_once_it_is_closed(volume: Path) -> None:
    async def body(mounted: Mounted) -> bytes:
        await mounted.run(lambda: (volume / "new").write_bytes(b"x" * 300_000))
        return (volume / "new").read_bytes()

    assert with_mounts([volume], body) == b"x" * 300_000


@pytest.mark.skipif(not may_be_opened_by_all(), reason="only root may open /dev/fuse")
def test_a_plain_user_creates_at_once_what_the_pod_lets_him() -> None:
    with tempfile.TemporaryDirectory(prefix="telepresence-test-") as name:
        os.chmod(name, 0o777)

        async def body(mounted: Mounted) -> Any:
            return await mounted.run(lambda: (Path(name) / "new").write_text("mine"))

        assert with_mounts([Path(name)], body, user="plain") == 4
        assert (Path(name) / "new").read_text() == "mine"


def test_names_and_attributes_are_changed_in_place(volume: Path) -> None:
    def change() -> list[Any]:
        os.mkdir(volume / "d", 0o750)
        (volume / "d" / "f").write_text("one")
        with open(volume / "d" / "f", "a") as file:
            file.write(" two")
        os.rename(volume / "d" / "f", volume / "g")
        os.link(volume / "g", volume / "h")
        os.symlink("g", volume / "s")
        os.chmod(volume / "g", 0o640)
        os.utime(volume / "g", ns=(10**18, 2 * 10**18 + 5))
        os.truncate(volume / "h", 5)
        os.mkfifo(volume / "fifo")
        (volume / "gone").write_text("")
        os.unlink(volume / "gone")
        os.rmdir(volume / "d")
        return [
            os.stat(volume / "g").st_size,
            os.stat(volume / "g").st_nlink,
            os.stat(volume).st_uid == os.geteuid(),
        ]

    assert inside_volume(volume, change) == [5, 2, True]
    assert sorted(os.listdir(volume)) == ["fifo", "g", "h", "s"]
    assert (volume / "s").read_text() == "one t"
    assert stat.S_IMODE((volume / "g").stat().st_mode) == 0o640


def test_times_are_set_to_the_nanosecond(volume: Path) -> None:
    (volume / "f").write_text("x")

    def change() -> int:
        os.utime(volume / "f", ns=(10**18, 2 * 10**17 + 5))
        return os.stat(volume / "f").st_mtime_ns

    assert inside_volume(volume, change) == 2 * 10**17 + 5 == (volume / "f").stat().st_mtime_ns


def test_the_childs_umask_counts_and_not_the_pods(volume: Path) -> None:
    def make() -> None:
        os.umask(0o027)
        os.close(os.open(volume / "f", os.O_CREAT | os.O_WRONLY, 0o666))
        os.mkdir(volume / "d")

    inside_volume(volume, make)
    assert [stat.S_IMODE((volume / name).stat().st_mode) for name in ("f", "d")] == [0o640, 0o750]


def test_a_read_only_mount_refuses_writes(volume: Path) -> None:
    (volume / "f").write_text("kept")
    attempts: list[Callable[[], Any]] = [
        lambda: (volume / "f").write_text("x"),
        lambda: (volume / "new").write_text("x"),
        lambda: os.mkdir(volume / "d"),
        lambda: os.unlink(volume / "f"),
        lambda: os.chmod(volume / "f", 0o600),
        lambda: os.rename(volume / "f", volume / "g"),
    ]
    found = inside_volume(
        volume, lambda: [*map(errno_of, attempts), (volume / "f").read_text()], read_only=True
    )
    assert found == [errno.EROFS] * len(attempts) + ["kept"]


def test_an_open_file_outlives_its_name(volume: Path) -> None:
    (volume / "small").write_text("small")

    def use() -> list[Any]:
        with open(volume / "f", "w+") as file, open(volume / "small") as small:
            os.unlink(volume / "f")
            os.unlink(volume / "small")
            file.write("still here")
            file.flush()
            size = os.fstat(file.fileno()).st_size
            os.ftruncate(file.fileno(), 5)
            file.seek(0)
            return [size, file.read(), small.read(), os.listdir(volume)]

    assert inside_volume(volume, use) == [10, "still", "small", []]


def test_what_is_written_by_one_descriptor_is_read_by_another(volume: Path) -> None:
    (volume / "f").write_text("before")

    def use() -> list[str]:
        with open(volume / "f") as reader, open(volume / "f", "r+") as writer:
            first = reader.read()
            writer.write("after, and longer")
            writer.flush()
            reader.seek(0)
            return [first, reader.read()]

    assert inside_volume(volume, use) == ["before", "after, and longer"]


def test_what_the_pod_writes_is_seen_within_a_moment(volume: Path) -> None:
    (volume / "f").write_text("before")

    def look() -> list[str]:
        wait_until(lambda: (volume / "f").read_text() != "before", "what the pod wrote is seen", 10)
        return [(volume / name).read_text() for name in ("f", "new")]

    async def body(mounted: Mounted) -> list[str]:
        first = await mounted.run((volume / "f").read_text)
        (volume / "f").write_text("by the pod")
        (volume / "new").write_text("new")
        return [first, *await mounted.run(look)]

    assert with_mounts([volume], body) == ["before", "by the pod", "new"]


def test_appending_goes_to_the_end(volume: Path) -> None:
    def append() -> str:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        first, second = (os.open(volume / "log", flags) for _ in range(2))
        for number in range(50):
            os.write((first, second)[number % 2], b"%02d\n" % number)
        return (volume / "log").read_text()

    assert inside_volume(volume, append) == "".join(f"{number:02}\n" for number in range(50))


def test_a_database_of_sqlite_works_with_either_journal(volume: Path) -> None:
    def use() -> list[Any]:
        found = []
        for mode in ("delete", "wal"):
            with sqlite3.connect(volume / mode) as database:
                database.execute(f"pragma journal_mode={mode}")
                database.execute("create table t (n integer)")
                database.executemany("insert into t values (?)", [(n,) for n in range(1000)])
            with sqlite3.connect(volume / mode) as database:
                found += database.execute("select sum(n) from t").fetchone()
                found += database.execute("pragma integrity_check").fetchone()
        return found

    assert inside_volume(volume, use) == [499500, "ok"] * 2
    with sqlite3.connect(volume / "delete") as database:
        assert database.execute("select count(*) from t").fetchone() == (1000,)


def test_locks_exclude_the_childs_own_processes(volume: Path) -> None:
    def lock() -> int:
        with open(volume / "lock", "w") as first, open(volume / "lock", "w") as second:
            fcntl.flock(first, fcntl.LOCK_EX)
            return errno_of(lambda: fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB))

    assert inside_volume(volume, lock) == errno.EWOULDBLOCK


def test_a_shared_mapping_is_written_back(volume: Path) -> None:
    (volume / "map").write_bytes(bytes(8192))

    def write() -> None:
        with open(volume / "map", "r+b") as file, mmap.mmap(file.fileno(), 8192) as mapped:
            mapped[5000:5003] = b"abc"
            mapped.flush()

    inside_volume(volume, write)
    assert (volume / "map").read_bytes()[5000:5003] == b"abc"


def test_git_clones_and_commits_there(volume: Path, tmp_path: Path) -> None:
    git = program("git")
    source = tmp_path / "source"
    source.mkdir()
    identity = ("-c", "user.name=T", "-c", "user.email=t@example.com")
    run(git, "init", "-q", str(source))
    for number in range(30):
        (source / f"file{number}").write_text(f"{number}\n" * 100)
    run(git, "-C", str(source), "add", ".")
    run(git, "-C", str(source), *identity, "commit", "-qm", "first")

    def clone() -> list[str]:
        os.environ["GIT_CONFIG_NOSYSTEM"], os.environ["HOME"] = "1", "/nonexistent"
        said = [run(git, "-c", "safe.directory=*", "clone", "-q", f"file://{source}", str(volume / "c"))]
        (volume / "c" / "more").write_text("more")
        said.append(run(git, "-C", str(volume / "c"), "add", "more"))
        said.append(run(git, "-C", str(volume / "c"), *identity, "commit", "-qm", "second"))
        said.append(run(git, "-C", str(volume / "c"), "status", "--porcelain"))
        said.append(run(git, "-C", str(volume / "c"), "fsck", "--full"))
        return said

    assert inside_volume(volume, clone) == [""] * 5
    assert (volume / "c" / "more").read_text() == "more"


def test_a_tree_that_is_unpacked_is_the_same_tree(volume: Path, tmp_path: Path) -> None:
    tar, diff = program("tar"), program("diff")
    tree = tmp_path / "tree"
    for number in range(200):
        path = tree / f"d{number % 7}" / f"e{number % 3}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(number * 37))
    (tree / "link").symlink_to("d1")
    run(tar, "-C", str(tree), "-cf", str(tmp_path / "tar"), ".")

    def unpack() -> list[str]:
        said = run(tar, "-C", str(volume), "-xf", str(tmp_path / "tar"))
        return [said, run(diff, "-r", "--no-dereference", str(tree), str(volume))]

    assert inside_volume(volume, unpack) == ["", ""]
    assert filecmp.dircmp(tree, volume).left_only == []


def test_a_volume_in_a_volume_stands_on_the_outer_one(volume: Path) -> None:
    inner = volume / "inner"
    inner.mkdir()

    async def body(mounted: Mounted) -> Any:
        def use() -> list[str]:
            (inner / "f").write_text("x")
            (volume / "g").write_text("y")
            return sorted(os.listdir(volume))

        return await mounted.run(use)

    assert with_mounts([volume, inner], body) == ["g", "inner"]
    assert (inner / "f").read_text() == "x"


def test_large_directories_and_files_that_vanish_meanwhile(volume: Path) -> None:
    for number in range(3000):
        (volume / f"{number:05}").write_text(str(number))

    def walk() -> list[Any]:
        names = sorted(os.listdir(volume))
        total = sum(int((volume / name).read_text()) for name in names)
        for name in names[::2]:
            os.unlink(volume / name)
        return [len(names), total, len(os.listdir(volume))]

    assert inside_volume(volume, walk) == [3000, 4498500, 1500]


def test_thousands_of_small_files_cost_a_handful_of_round_trips(volume: Path) -> None:
    for number in range(2000):
        path = volume / f"d{number % 100}" / f"{number:05}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * (500 + number))

    async def body(mounted: Mounted) -> tuple[int, list[Op]]:
        asked: list[Op] = []
        (offer,) = mounted.live._offers.values()
        send = offer.operations.send

        def counted(request: Request) -> Any:
            asked.append(request.op)
            return send(request)

        offer.operations.send = counted  # type: ignore[method-assign]

        def read_all() -> int:
            return sum(
                len((Path(top) / name).read_bytes())
                for top, _directories, names in os.walk(volume)
                for name in names
            )

        return await mounted.run(read_all), asked

    total, asked = with_mounts([volume], body)
    assert total == sum(500 + number for number in range(2000))
    assert asked.count(Op.OPEN) == asked.count(Op.READ) == 0
    assert len(asked) < 30  # and not two for each; a few more for each second that it takes


def test_a_large_file_is_read_ahead_of_its_reader(volume: Path) -> None:
    (volume / "large").write_bytes(os.urandom(12 << 20))

    async def body(mounted: Mounted) -> Any:
        waiting: list[int] = []
        (offer,) = mounted.live._offers.values()
        send = offer.operations.send

        def noted(request: Request) -> Any:
            waiting.append(len(offer.operations._waiting))  # type: ignore[attr-defined]
            return send(request)

        offer.operations.send = noted  # type: ignore[method-assign]
        data = await mounted.run((volume / "large").read_bytes)
        return data, max(waiting)

    data, most_waiting = with_mounts([volume], body)
    assert data == (volume / "large").read_bytes()
    assert most_waiting >= 4


def test_a_link_that_is_down_is_waited_for_and_one_that_is_lost_is_eio(volume: Path) -> None:
    (volume / "f").write_text("there")

    async def body(mounted: Mounted) -> list[Any]:
        mounted.fake.cut_link()
        found: list[Any] = []
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                found.append(await mounted.run((volume / "f").read_text))

            nursery.start_soon(read)
            (offer,) = mounted.live._offers.values()
            await in_time(lambda: bool(offer.operations._waiting))  # type: ignore[attr-defined]
            assert not found
            mounted.fake.mend_link()
        mounted.fake.cut()
        found.append(await mounted.run(lambda: errno_of(lambda: (volume / "other").write_text(""))))
        return found

    assert with_mounts([volume], body) == ["there", errno.EIO]
