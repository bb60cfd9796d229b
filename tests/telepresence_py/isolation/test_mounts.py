"""What a process inside finds in the file system; real namespaces."""

from __future__ import annotations

import errno
import functools
import io
import os
import socket
import subprocess
import tarfile
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from telepresence_py.isolation.inside import Inside
from telepresence_py.volumes.publish import publish
from tests.fakes.inotify import Watch
from tests.telepresence_py.isolation.joined import (
    answer_of,
    each_user,
    entered,
    joined,
    output_of,
    run_trio_as,
    start_joined,
    view,
)

OWN = f"of-test-{os.getpid()}"
"""In paths of which it is asserted that they are gone: others may have mount points meanwhile, too."""
OF_TESTS = ("data", "cache", "outer")
"""What those begin with that tests mount at below `/`."""


@pytest.fixture
def own_directory() -> Iterator[Path]:
    """A directory in which every user may write."""
    with tempfile.TemporaryDirectory(prefix="telepresence-test-") as name:
        os.chmod(name, 0o777)
        yield Path(name)


def inside_does(user: str, body: Callable[[Inside], Awaitable[Any]], **shown: Any) -> Any:
    async def main() -> Any:
        async with entered(view(**shown)) as inside:
            return await body(inside)

    return run_trio_as(user, main)


def call_inside(user: str, call: Callable[[], Any], **shown: Any) -> Any:
    return inside_does(user, lambda inside: joined(inside, call), **shown)


def put(directory: int, name: str, content: str) -> None:
    with open(os.open(name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644, dir_fd=directory), "w") as file:
        file.write(content)


async def chunks_of(**files: str) -> AsyncIterator[bytes]:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content.encode()))
    yield stream.getvalue()


def lasting_root_entries() -> list[str]:
    return sorted(name for name in os.listdir("/") if not name.startswith(OF_TESTS))


def error_of(call: Callable[[], Any]) -> str:
    try:
        call()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "allowed"


@each_user
def test_volumes_are_at_the_pods_own_paths_and_read_only(user: str) -> None:
    paths = (
        f"/data-{OWN}",
        f"/etc/config-{OWN}",
        f"/var/run/secrets-{OWN}/kubernetes.io/serviceaccount",
        f"/srv/{OWN}/er/volume",
    )

    async def fill_and_look(inside: Inside) -> Any:
        for path, directory in inside.volume_directories.items():
            put(directory, "content", f"of {path}")
        return await joined(
            inside,
            lambda: [(Path(path, "content").read_text(), error_of(Path(path, "x").touch)) for path in paths],
        )

    seen = inside_does(user, fill_and_look, volume_paths=paths)
    assert seen == [(f"of {path}", "EROFS") for path in paths]
    assert not any(os.path.exists(path) for path in paths)


@each_user
def test_what_is_written_through_the_directory_later_is_seen_inside(user: str) -> None:
    async def refresh(inside: Inside) -> Any:
        directory = inside.volume_directories["/etc/live"]
        put(directory, "first", "1")
        os.symlink("first", "..data", dir_fd=directory)
        before = await joined(inside, Path("/etc/live/..data").read_text)
        put(directory, "second", "2")
        os.symlink("second", "..data_tmp", dir_fd=directory)
        os.rename("..data_tmp", "..data", src_dir_fd=directory, dst_dir_fd=directory)
        return before, await joined(inside, Path("/etc/live/..data").read_text)

    assert inside_does(user, refresh, volume_paths=("/etc/live",)) == ("1", "2")


@each_user
def test_a_watcher_inside_hears_through_its_read_only_mount_what_is_published_outside(user: str) -> None:
    async def publish_while_watched(inside: Inside) -> Any:
        directory = inside.volume_directories["/etc/live"]
        await publish(directory, "..1", chunks_of(colour="green"))
        ready, say_ready = os.pipe()

        def watch() -> Any:
            with Watch("/etc/live") as watching:
                os.write(say_ready, b"!")
                return watching.events(("delete", "..1")), Path("/etc/live/colour").read_text()

        pid, answer = start_joined(inside, watch)
        await trio.to_thread.run_sync(os.read, ready, 1)
        await publish(directory, "..2", chunks_of(colour="red"))
        seen = await answer_of(pid, answer)
        os.close(ready)
        os.close(say_ready)
        return seen

    events, colour = inside_does(user, publish_while_watched, volume_paths=("/etc/live",))
    assert events == [
        ("create", "..2"),
        ("create", "..data_tmp"),
        ("moved from", "..data_tmp"),
        ("moved to", "..data"),
        ("delete", "..1"),
    ]
    assert colour == "red"


@each_user
def test_a_writable_volume_may_be_written_from_both_sides(user: str) -> None:
    async def write(inside: Inside) -> Any:
        put(inside.volume_directories["/cache"], "from-outside", "o")
        found = await joined(
            inside, lambda: (Path("/cache/from-inside").write_text("i"), sorted(os.listdir("/cache")))
        )
        return found[1], sorted(os.listdir(inside.volume_directories["/cache"]))

    both = ["from-inside", "from-outside"]
    seen = inside_does(user, write, volume_paths=("/cache",), writable_volume_paths=frozenset({"/cache"}))
    assert seen == (both, both)


@each_user
def test_a_volume_inside_a_volume_and_a_file_inside_both(user: str) -> None:
    async def look(inside: Inside) -> Any:
        for path, directory in inside.volume_directories.items():
            put(directory, "name", path)

        def see() -> Any:
            names = [Path(path, "name").read_text() for path in ("/outer", "/outer/a/inner")]
            refused = [error_of(Path(path, "x").touch) for path in ("/outer", "/outer/a", "/outer/a/inner")]
            return names, refused, Path("/outer/a/inner/single.conf").read_text()

        return await joined(inside, see)

    names, refused, single = inside_does(
        user,
        look,
        volume_paths=("/outer/a/inner", "/outer"),
        writable_volume_paths=frozenset({"/outer/a/inner"}),
        volume_files={"/outer/a/inner/single.conf": b"single"},
    )
    assert names == ["/outer", "/outer/a/inner"]
    assert refused == ["EROFS", "EROFS", "allowed"]
    assert single == "single"


@each_user
def test_single_files_are_at_their_paths_and_read_only(user: str) -> None:
    files = {
        "/opt/app-of-the-pod/app.conf": b"a=1",
        "/etc/passwd": b"pod:x:0:0::/:/bin/sh\n",
        "/one.bin": bytes(300),
    }

    def see() -> Any:
        refused = [error_of(functools.partial(Path(path).write_bytes, b"")) for path in files]
        return {path: Path(path).read_bytes() for path in files}, refused

    contents, refused = call_inside(user, see, volume_files=files)
    assert contents == files
    assert refused == ["EROFS"] * 3
    assert b"root" in Path("/etc/passwd").read_bytes()


@each_user
def test_volumes_are_below_a_prefix_too_and_nothing_else_can_be_made_there(
    user: str, own_directory: Path
) -> None:
    prefix, account, script = (
        str(own_directory / "pod"),
        "/var/run/secrets-of-the-pod",
        "/opt/of-a-test/run.sh",
    )
    shown = {
        "volume_paths": ("/data-of-the-pod", "/data-of-the-pod/in", account, "/tmp"),
        "volume_files": {script: b"#!/bin/sh\necho ran\n"},
        "file_modes": {script: 0o755},
        "writable_volume_paths": frozenset({"/data-of-the-pod", "/tmp"}),
        "prefix": prefix,
        "below_prefix": frozenset({"/tmp"}),
    }

    def see() -> Any:
        Path(f"{prefix}/data-of-the-pod/written").write_text("by the child")
        return {
            "there": sorted(os.listdir(prefix)),
            "both": Path("/data-of-the-pod/written").read_text(),
            "nested": Path(f"{prefix}/data-of-the-pod/in/key").read_text(),
            "token": Path(f"{prefix}{account}/token").read_text(),
            "alone": [Path(f"{prefix}/tmp/of-the-pod").read_text(), os.path.exists("/tmp/of-the-pod")],
            "ran": subprocess.run([f"{prefix}{script}"], capture_output=True, text=True, check=True).stdout,
            "refused": [
                error_of(Path(f"{prefix}{one}").touch)
                for one in ("/new", f"{account}/new", "/data-of-the-pod/in/new")
            ],
        }

    async def fill_and_look(inside: Inside) -> Any:
        put(inside.volume_directories["/data-of-the-pod/in"], "key", "k")
        put(inside.volume_directories[account], "token", "t")
        put(inside.volume_directories["/tmp"], "of-the-pod", "p")
        assert inside.variables == {"TELEPRESENCE_ROOT": prefix}
        return await joined(inside, see)

    assert inside_does(user, fill_and_look, **shown) == {
        "there": ["data-of-the-pod", "opt", "tmp", "var"],
        "both": "by the child",
        "nested": "k",
        "token": "t",
        "alone": ["p", False],
        "ran": "ran\n",
        "refused": ["EROFS"] * 3,
    }
    assert os.listdir(own_directory) == []


@each_user
def test_a_path_that_the_laptop_has_too_is_covered_inside_only(user: str, own_directory: Path) -> None:
    (own_directory / "laptops").write_text("own")

    async def look(inside: Inside) -> Any:
        put(inside.volume_directories[str(own_directory)], "pods", "p")
        return await joined(inside, lambda: os.listdir(own_directory))

    assert inside_does(user, look, volume_paths=(str(own_directory),)) == ["pods"]
    assert os.listdir(own_directory) == ["laptops"]


def test_a_directory_gives_way_to_the_pods_file_and_a_file_to_its_directory() -> None:
    def see() -> Any:
        return Path("/etc/ssl").read_text(), os.listdir("/etc/fstab"), os.path.exists("/etc/passwd")

    seen = call_inside("plain", see, volume_files={"/etc/ssl": b"file"}, volume_paths=("/etc/fstab",))
    assert seen == ("file", [], True)
    assert os.path.isdir("/etc/ssl")


@each_user
def test_the_rest_of_the_laptop_goes_on_as_before(user: str, own_directory: Path) -> None:
    """Beside a new root and covered directories: files, sockets, symbolic links, devices, /sys."""
    (own_directory / "before").write_text("before")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(own_directory / "socket"))
        os.chmod(own_directory / "socket", 0o777)
        listener.listen()

        async def use(inside: Inside) -> Any:
            def see() -> Any:
                (own_directory / "made-inside").write_text("i")
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(str(own_directory / "socket"))
                Path("/dev/null").write_text("x")
                return (
                    (own_directory / "before").read_text(),
                    (own_directory / "later").read_text(),
                    os.path.islink("/etc/mtab") == mtab_is_link,
                    os.listdir("/sys") == sys_entries,
                    lasting_root_entries() == root_entries,
                )

            (own_directory / "later").write_text("later")
            return await joined(inside, see)

        mtab_is_link = os.path.islink("/etc/mtab")
        sys_entries, root_entries = os.listdir("/sys"), lasting_root_entries()
        seen = inside_does(user, use, volume_paths=("/data-of-the-pod", "/etc/config-of-the-pod"))
    assert seen == ("before", "later", True, True, True)
    assert (own_directory / "made-inside").read_text() == "i"


def test_a_plain_user_may_write_to_the_system_directories_as_little_as_before() -> None:
    paths = ("/data-of-the-pod", "/etc/config-of-the-pod")
    refused = call_inside(
        "plain", lambda: [error_of(Path(p, "x").touch) for p in ("/", "/etc")], volume_paths=paths
    )
    assert refused == ["EROFS", "EROFS"]


@each_user
def test_a_missing_path_where_the_user_may_write_leaves_that_directory_writable(
    user: str, own_directory: Path
) -> None:
    volume, single = str(own_directory / "a/volume"), str(own_directory / "b/single")

    def see() -> Any:
        (own_directory / "made-inside").write_text("i")
        return os.listdir(volume), Path(single).read_text()

    assert call_inside(user, see, volume_paths=(volume,), volume_files={single: b"s"}) == ([], "s")
    assert os.listdir(own_directory) == ["made-inside"]


def test_a_volume_below_a_directory_that_the_user_may_not_enter_is_there() -> None:
    """Images whose user is root mount things below /root."""
    path = "/root/.of-the-pod/config"
    seen = call_inside("plain", lambda: error_of(lambda: os.listdir(path)), volume_paths=(path,))
    assert seen == "allowed"


@each_user
def test_two_sessions_may_have_the_same_path_and_the_first_to_end_takes_it_from_nobody(
    user: str, own_directory: Path
) -> None:
    shown = view(volume_paths=(str(own_directory / "both"),))

    async def main() -> Any:
        async with entered(shown) as second:
            async with entered(shown):
                pass
            put(next(iter(second.volume_directories.values())), "content", "c")
            return await joined(second, lambda: os.listdir(own_directory / "both"))

    assert run_trio_as(user, main) == ["content"]


@each_user
def test_names_are_the_pods_and_users_the_laptops(user: str) -> None:
    files = {"/etc/resolv.conf": b"nameserver 10.96.0.10\n", "/etc/hosts": b"10.244.1.7 orders-7d4f\n"}

    def see() -> Any:
        contents = [Path(path).read_bytes() for path in files]
        switch = Path("/etc/nsswitch.conf").read_text().splitlines()
        return contents, switch, socket.gethostname(), socket.gethostbyname("orders-7d4f")

    contents, switch, hostname, address = call_inside(user, see, files=files)
    assert contents == list(files.values())
    assert [line for line in switch if line.startswith("hosts:")] == ["hosts: files dns"]
    assert any(line.startswith("passwd:") for line in switch)
    assert (hostname, address) == ("orders-7d4f", "10.244.1.7")
    assert Path("/etc/resolv.conf").read_bytes() != files["/etc/resolv.conf"]


@each_user
def test_a_program_executed_inside_is_who_it_was_and_sees_its_own_processes(user: str) -> None:
    async def look(inside: Inside) -> Any:
        identity = await output_of(inside, ["/bin/sh", "-c", "id -u; id -g; hostname; cat /etc/hostname"])
        status = await output_of(inside, ["/bin/cat", "/proc/self/status"])
        return identity.split(), status

    (uid, gid, hostname, in_file), status = inside_does(user, look)
    expected = ("0", "0") if user == "root" else (uid, gid)
    assert (uid, gid) == expected
    assert (hostname, in_file) == ("orders-7d4f", "orders-7d4f")
    fields = dict(line.split(":\t", 1) for line in status.splitlines())
    assert fields["NSpid"] == fields["Pid"], "the number that it has, and no other one outside of it"
    # a plain user's capabilities end with exec; root's hold within the user namespace only
    assert (int(fields["CapEff"], 16) == 0) == (user == "plain")


@each_user
def test_roots_processes_keep_other_users_ids_and_a_plain_users_do_not(
    user: str, own_directory: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make another user's file")
    (own_directory / "others").touch(0o600)
    os.chown(own_directory / "others", 4321, 4321)

    def see() -> Any:
        return os.stat(own_directory / "others").st_uid, error_of((own_directory / "others").read_bytes)

    assert call_inside(user, see) == ((4321, "allowed") if user == "root" else (65534, "EACCES"))


def test_orphans_are_reaped() -> None:
    async def main() -> int:
        async with entered(view()) as inside:

            def leave_an_orphan() -> int:
                reading, writing = os.pipe()
                if os.fork() == 0:
                    if os.fork() == 0:
                        os.write(writing, b"%d" % os.getpid())
                        os._exit(0)
                    os._exit(0)
                os.wait()
                orphan = int(os.read(reading, 20))
                while os.path.exists(f"/proc/{orphan}"):
                    os.sched_yield()
                return orphan

            return int(await joined(inside, leave_an_orphan))

    assert run_trio_as("plain", main) > 1
