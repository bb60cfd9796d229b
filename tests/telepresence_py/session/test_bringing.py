"""Files of a container that no volume holds; programs of this machine stand for those of its image."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from telepresence_py.cluster.client import Cluster
from telepresence_py.model.errors import NamedObjectMissing, PreconditionFailed, one_error
from telepresence_py.model.intent import ClusterChoice, SwapIntent
from telepresence_py.model.network import Mount
from telepresence_py.session import bringing
from telepresence_py.session.bringing import Source, bring, running_pod
from telepresence_py.tunnel.bridge import in_asyncio, run
from telepresence_py.volumes import brought as limits
from telepresence_py.volumes.brought import Brought
from tests.fakes.executing import ExecServer, exec_server

MOUNTS = (Mount("/etc/shop/", "s", "configMap"),)


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> Path:
    """What is in the container."""
    (tmp_path / "tree/deep").mkdir(parents=True)
    (tmp_path / "tree/deep/binary").write_bytes(bytes(range(256)))
    (tmp_path / "settings.ini").write_bytes(b"\0colour\xff")
    (tmp_path / "settings.ini").chmod(0o640)
    (tmp_path / "to-file").symlink_to("settings.ini")
    (tmp_path / "to-tree").symlink_to("tree")
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


@pytest.fixture
def programs(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """A PATH with those programs alone."""

    def only(*names: str) -> str:
        directory = tmp_path_factory.mktemp("bin")
        for name in names:
            (directory / name).symlink_to(str(shutil.which(name)))
        return str(directory)

    return only


def intent(*paths: Path | str, prefix: str | None = None, method: str | None = None) -> SwapIntent:
    return SwapIntent(
        cluster=ClusterChoice(),
        kind="deployment",
        name="shop",
        container=None,
        ports=(),
        command=("true",),
        holder="me@here",
        files=tuple(map(str, paths)),
        prefix=prefix,
        method=method,
    )


def brought(
    monkeypatch: pytest.MonkeyPatch,
    asked: SwapIntent,
    path: str | None = None,
    pod: str | None = "shop-1",
    lossy: int = 0,
) -> tuple[tuple[Brought, ...], ExecServer]:
    async def main() -> tuple[tuple[Brought, ...], ExecServer]:
        serving = exec_server(path)
        server = await in_asyncio(serving.__aenter__)
        server.lossy = lossy

        def target(_cluster: Cluster, name: str, container: str, command: tuple[str, ...]) -> Any:
            assert (name, container) == ("shop-1", "main")
            return server.target(*command)

        monkeypatch.setattr(bringing, "exec_target", target)
        try:
            with one_error():
                source = Source("deployment/shop", pod, "main", MOUNTS)
                return await bring(cast(Any, None), source, asked, lambda event: None), server
        finally:
            await in_asyncio(serving.__aexit__, None, None, None)

    return run(main)


def test_files_and_directories_come_byte_for_byte_with_their_modes_links_followed(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [files / name for name in ("settings.ini", "tree", "to-file", "to-tree")]
    (file, tree, to_file, to_tree), _ = brought(monkeypatch, intent(*paths))
    assert file == Brought(str(paths[0]), b"\0colour\xff", 0o640)
    assert to_file == Brought(str(paths[2]), b"\0colour\xff", 0o640)
    assert (tree.is_directory, tree.fills) == (True, str(paths[1]))
    assert (to_tree.is_directory, to_tree.fills) == (True, "/")
    assert bytes(range(256)) in tree.content
    assert bytes(range(256)) in to_tree.content


@pytest.mark.parametrize(("names", "mode"), [(("cat", "stat"), 0o640), (("cat",), 0o644)])
def test_without_tar_cat_reads_files(
    files: Path,
    monkeypatch: pytest.MonkeyPatch,
    programs: Callable[..., str],
    names: tuple[str, ...],
    mode: int,
) -> None:
    (file,), _ = brought(monkeypatch, intent(files / "settings.ini"), programs(*names))
    assert file == Brought(str(files / "settings.ini"), b"\0colour\xff", mode)
    with pytest.raises(PreconditionFailed, match="Is a directory"):
        brought(monkeypatch, intent(files / "tree"), programs(*names))


def test_an_image_with_neither_is_named_with_what_to_do(
    files: Path, monkeypatch: pytest.MonkeyPatch, programs: Callable[..., str]
) -> None:
    with pytest.raises(
        PreconditionFailed, match=r"neither tar nor cat.*ConfigMap.*container main of pod shop-1"
    ):
        brought(monkeypatch, intent(files / "settings.ini"), programs())


def test_a_path_that_is_not_there_names_the_nearest(
    files: Path, monkeypatch: pytest.MonkeyPatch, programs: Callable[..., str]
) -> None:
    with pytest.raises(NamedObjectMissing, match=r'has no such file; did you mean "settings\.ini"'):
        brought(monkeypatch, intent(files / "setings.ini"))
    with pytest.raises(NamedObjectMissing, match=r"has no such file$"):
        brought(monkeypatch, intent(files / "no/such/place"))
    with pytest.raises(NamedObjectMissing, match=r"has no such file$"):
        brought(monkeypatch, intent(files / "setings.ini"), programs("cat"))


def test_what_is_no_file_or_too_large_is_refused(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PreconditionFailed, match="neither a file nor a directory"):
        brought(monkeypatch, intent(files / "pipe"))
    monkeypatch.setattr(limits, "MOST_FILES", 2)
    with pytest.raises(PreconditionFailed, match="more than 5000 files"):
        brought(monkeypatch, intent(files / "tree"))
    monkeypatch.setattr(bringing, "MOST_ARCHIVE_BYTES", 100)
    with pytest.raises(PreconditionFailed, match="more than 64 MiB"):
        brought(monkeypatch, intent(files / "settings.ini"))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (intent("/etc/shop/key"), "the volume at /etc/shop"),
        (intent("/etc/hosts"), "the pod's own anyway"),
        (intent("/usr/lib"), "it would hide.*--mount DIR"),
    ],
)
def test_what_the_command_has_anyway_or_needs_is_refused_and_nothing_is_asked(
    monkeypatch: pytest.MonkeyPatch, asked: SwapIntent, words: str
) -> None:
    monkeypatch.setattr(bringing, "exec_target", None)
    with pytest.raises(PreconditionFailed, match=words):
        brought(monkeypatch, asked)


def test_what_would_hide_something_is_below_a_prefix_alone_and_needs_none_without_namespaces() -> None:
    below = bringing.below_alone
    assert below(["/usr/lib", "/srv/x"], intent(prefix="/pod")) == {"/usr/lib"}
    assert below(["/usr/lib"], intent(method="proxy")) == frozenset()


def test_where_no_pod_is_there_it_is_said(monkeypatch: pytest.MonkeyPatch, files: Path) -> None:
    with pytest.raises(PreconditionFailed, match="deployment/shop has no Ready pod"):
        brought(monkeypatch, intent(files / "settings.ini"), pod=None)
    assert brought(monkeypatch, intent(), pod=None)[0] == ()


def test_a_pod_to_read_from_is_ready_stays_and_has_the_same_image() -> None:
    def pod(name: str, image: str = "shop:1", ready: str = "True", **metadata: str) -> dict[str, Any]:
        return {
            "metadata": {"name": name, **metadata},
            "spec": {"containers": [{"name": "main", "image": image}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]},
        }

    spec = pod("")["spec"]
    others = [pod("a", "shop:0"), pod("b", ready="False"), pod("c", deletionTimestamp="now")]
    assert running_pod(others, spec, "main") is None
    assert running_pod([*others, pod("e"), pod("d")], spec, "main") == "d"


@pytest.mark.parametrize("names", [(), ("cat",)])
def test_what_lost_its_end_on_the_way_is_read_again(
    files: Path, monkeypatch: pytest.MonkeyPatch, programs: Callable[..., str], names: tuple[str, ...]
) -> None:
    path = programs(*names) if names else None
    (file,), server = brought(monkeypatch, intent(files / "settings.ini"), path, lossy=2)
    assert file.content == b"\0colour\xff"
    assert len(server.asked) >= 3


def test_what_never_comes_whole_is_refused(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PreconditionFailed, match="no whole archive"):
        brought(monkeypatch, intent(files / "settings.ini"), lossy=9)
