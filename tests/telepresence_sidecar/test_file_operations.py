"""What the pod does for one request; real files."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from telepresence_sidecar.contract.remote_files import (
    SET_CHANGED,
    SET_LENGTH,
    SET_MODE,
    Attributes,
    Contents,
    Op,
    Request,
    Space,
    decode_contents,
    decode_listings,
)
from telepresence_sidecar.file_operations import MOST_HANDLES, FileOperations
from telepresence_sidecar.file_tree import SMALL


class Pod:
    def __init__(self, root: Path) -> None:
        self.operations = FileOperations(str(root))

    def ok(self, request: Request) -> bytes:
        error, payload = self.operations.answer(request)
        assert error == 0, errno.errorcode[error]
        return payload

    def error(self, request: Request) -> int:
        return self.operations.answer(request)[0]

    def contents(self, path: str, most_bytes: int) -> list[Contents]:
        return decode_contents(self.ok(Request(Op.CONTENTS, path.encode(), size=most_bytes)))


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)


@pytest.mark.parametrize("path", [b"..", b"../x", b"a/../../x", b"a/.."])
@pytest.mark.parametrize("op", [Op.STAT, Op.OPEN, Op.REMOVE, Op.MAKE_DIRECTORY])
def test_no_path_leads_out_of_the_volume(pod: Pod, op: Op, path: bytes) -> None:
    assert pod.error(Request(op, path)) == errno.EINVAL


def test_a_path_with_a_nul_is_refused(pod: Pod) -> None:
    assert pod.error(Request(Op.STAT, b"a\0b")) == errno.EINVAL


def test_links_are_not_followed(pod: Pod, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    assert stat.S_ISLNK(Attributes.decode(pod.ok(Request(Op.STAT, b"link"))).mode)
    assert pod.error(Request(Op.OPEN, b"link", 1)) == errno.ELOOP


def test_a_file_is_opened_written_and_read_by_a_number_of_the_laptops(pod: Pod, tmp_path: Path) -> None:
    pod.ok(Request(Op.OPEN, b"f", 9, flags=os.O_RDWR | os.O_CREAT | os.O_EXCL, mode=0o640))
    pod.ok(Request(Op.WRITE, handle=9, offset=3, data=b"abc"))
    assert pod.ok(Request(Op.READ, handle=9, size=10)) == b"\0\0\0abc"
    assert Attributes.decode(pod.ok(Request(Op.SYNC, handle=9))).size == 6
    pod.ok(Request(Op.CLOSE, handle=9))
    assert pod.error(Request(Op.READ, handle=9, size=10)) == errno.EBADF
    assert (tmp_path / "f").read_bytes() == b"\0\0\0abc"


def test_open_files_are_bounded_and_closed_at_the_end(pod: Pod, tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    for number in range(MOST_HANDLES):
        pod.ok(Request(Op.OPEN, b"f", number + 1))
    assert pod.error(Request(Op.OPEN, b"f", MOST_HANDLES + 1)) == errno.ENFILE
    pod.operations.close()
    pod.ok(Request(Op.OPEN, b"f", 1))
    pod.operations.close()


def test_attributes_are_set_as_asked_and_no_others(pod: Pod, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("long")
    before = (tmp_path / "f").stat()
    flags = SET_MODE | SET_LENGTH | SET_CHANGED
    request = Request(Op.SET, b"f", flags=flags, mode=0o600, offset=2, changed=10**18 + 7, accessed=5)
    told = Attributes.decode(pod.ok(request))
    assert (stat.S_IMODE(told.mode), told.size, told.modified) == (0o600, 2, 10**18 + 7)
    assert told.accessed == before.st_atime_ns


def test_what_a_link_leads_to_is_not_changed_by_it(pod: Pod, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("kept")
    (tmp_path / "link").symlink_to("f")
    assert pod.error(Request(Op.SET, b"link", flags=SET_LENGTH)) == errno.EOPNOTSUPP
    pod.ok(Request(Op.SET, b"link", flags=SET_CHANGED, changed=10**18))
    assert (tmp_path / "f").read_text() == "kept"
    assert (tmp_path / "link").lstat().st_mtime_ns == 10**18 != (tmp_path / "f").stat().st_mtime_ns


def test_names_are_made_moved_and_removed(pod: Pod, tmp_path: Path) -> None:
    pod.ok(Request(Op.MAKE_DIRECTORY, b"d", mode=0o755))
    pod.ok(Request(Op.MAKE_SYMLINK, b"d/s", other=b"elsewhere"))
    pod.ok(Request(Op.MAKE_NODE, b"d/fifo", mode=stat.S_IFIFO | 0o600))
    pod.ok(Request(Op.MAKE_NODE, b"d/f", mode=stat.S_IFREG | 0o600))
    pod.ok(Request(Op.MAKE_LINK, b"d/g", other=b"d/f"))
    pod.ok(Request(Op.RENAME, b"d/g", other=b"h"))
    pod.ok(Request(Op.REMOVE, b"d/f"))
    assert pod.error(Request(Op.REMOVE_DIRECTORY, b"d")) == errno.ENOTEMPTY
    assert sorted(os.listdir(tmp_path / "d")) == ["fifo", "s"]
    assert (tmp_path / "h").exists()


def test_devices_are_not_made(pod: Pod) -> None:
    assert pod.error(Request(Op.MAKE_NODE, b"null", mode=stat.S_IFCHR | 0o666)) == errno.EPERM


def test_what_may_be_done_is_asked_of_the_pods_own_kernel(pod: Pod, tmp_path: Path) -> None:
    (tmp_path / "f").touch(0o600)
    pod.ok(Request(Op.MAY, b"f", mode=os.R_OK))
    assert pod.error(Request(Op.MAY, b"f", mode=os.X_OK)) == errno.EACCES
    assert pod.error(Request(Op.MAY, b"g", mode=os.R_OK)) == errno.ENOENT


def test_space_is_that_of_the_volume(pod: Pod, tmp_path: Path) -> None:
    assert Space.decode(pod.ok(Request(Op.SPACE))).longest_name == os.statvfs(tmp_path).f_namemax


def test_a_listing_has_attributes_link_targets_and_what_is_below(pod: Pod, tmp_path: Path) -> None:
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "d" / "e" / "f").write_text("123")
    (tmp_path / "link").symlink_to("d")
    found = {one.path: one.entries for one in decode_listings(pod.ok(Request(Op.LIST, size=100)))}
    assert list(found) == [b"", b"d", b"d/e"]
    assert [(entry.name, entry.target) for entry in found[b""]] == [(b"d", b""), (b"link", b"d")]
    assert found[b"d/e"][0].attributes.size == 3


def test_a_listing_is_whole_for_its_own_directory_and_ends_with_the_budget_below(
    pod: Pod, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(10):
            (tmp_path / name / str(number)).touch()
    found = decode_listings(pod.ok(Request(Op.LIST, b"a", size=1)))
    assert [(one.path, len(one.entries)) for one in found] == [(b"a", 10)]
    found = decode_listings(pod.ok(Request(Op.LIST, size=15)))
    assert [one.path for one in found] == [b"", b"a"]


def test_contents_of_near_files_come_along_once(pod: Pod, tmp_path: Path) -> None:
    for path in ("a/1", "a/2", "a/c/3", "b/4"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    (tmp_path / "a" / "large").write_bytes(bytes(SMALL + 1))
    assert [one.path for one in pod.contents("a/2", 10_000)] == [b"a/2", b"a/1", b"a/c/3", b"b/4"]
    assert [one.path for one in pod.contents("a/2", 10_000)] == [b"a/2"]
    (tmp_path / "b" / "4").write_text("changed since")
    assert [(one.path, one.data) for one in pod.contents("a/1", 10_000)][1:] == [(b"b/4", b"changed since")]


def test_contents_end_with_the_budget(pod: Pod, tmp_path: Path) -> None:
    for number in range(10):
        (tmp_path / str(number)).write_bytes(bytes(1000))
    assert len(pod.contents("0", 3000)) == 3
    assert len(pod.contents("0", 100_000)) == 8


@pytest.mark.parametrize("path", ["missing", "directory"])
def test_contents_of_what_is_no_file_is_an_error(pod: Pod, tmp_path: Path, path: str) -> None:
    (tmp_path / "directory").mkdir()
    expected = errno.ENOENT if path == "missing" else errno.EISDIR
    assert pod.error(Request(Op.CONTENTS, path.encode(), size=10)) == expected


def test_a_file_that_is_too_large_is_told_by_a_length_that_does_not_fit(pod: Pod, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(SMALL + 1))
    (only,) = pod.contents("large", 10)
    assert (only.data, only.attributes.size) == (b"", SMALL + 1)
