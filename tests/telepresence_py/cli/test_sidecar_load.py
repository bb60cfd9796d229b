"""Loading, against FAKE cluster tools: that kind, minikube and k3d do what they are told was not tried."""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
from pathlib import Path

import pytest

from telepresence_py.cli import sidecar_load
from telepresence_py.cli.load_target import LoadTarget
from telepresence_py.cli.render import Screen, Wanted
from telepresence_py.cli.sidecar_image import this_platform
from telepresence_py.cli.sidecar_load import find_target, load_image
from telepresence_py.model.errors import BadUsage, ClusterUnreachable, NamedObjectMissing, PreconditionFailed
from telepresence_py.model.intent import ClusterChoice
from tests.fakes.tools import IMAGE_ID, fake_tools

IMAGE = "localhost/telepresence-py-sidecar:test"
PROFILES = json.dumps({"invalid": [], "valid": [{"Name": "minikube"}, {"Name": "team"}]})


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """A podman that has the image, and no socket of any containerd."""
    tools = fake_tools(tmp_path, monkeypatch)
    tools.add("podman")
    tools.answer("podman", "inspect", out=f"{this_platform()}\n")
    monkeypatch.setattr(sidecar_load, "_RUN", tmp_path / "run")
    return tools


@pytest.fixture
def screen():
    return Screen(io.StringIO(), Wanted())


def loaded_archive(tools) -> list[str]:
    """The names in the docker-archive that a cluster's tool was given."""
    with tarfile.open(tools.directory / "seen.tar") as tar:
        return tar.getnames()


def command(tools, *words: str) -> list[str]:
    """That of the only call with these words, its archive by a name that can be compared."""
    (call,) = tools.calls(*words)
    return ["ARCHIVE" if word.endswith(".tar") else word for word in call["words"]]


def test_kind_is_given_an_archive_for_the_named_cluster(tools, screen):
    tools.add("kind")
    tools.answer("kind", "get", "clusters", out="dev\nother\n")
    load_image(screen, IMAGE, LoadTarget("kind", "dev"))
    assert command(tools, "kind", "load") == ["kind", "load", "image-archive", "ARCHIVE", "--name", "dev"]
    assert "manifest.json" in loaded_archive(tools)
    assert f"loaded {IMAGE} into kind:dev" in screen._stream.getvalue()


def test_k3d_is_given_an_archive_for_the_named_cluster(tools, screen):
    tools.add("k3d")
    tools.answer("k3d", "list", out=json.dumps([{"name": "k3s-default"}]))
    load_image(screen, IMAGE, LoadTarget("k3d"))
    assert command(tools, "import") == ["k3d", "image", "import", "ARCHIVE", "-c", "k3s-default"]
    assert "manifest.json" in loaded_archive(tools)


@pytest.mark.parametrize(
    "line", ["ERRO[0001] failed to import images in node 'k3d-x-server-0'", 'time="x" level=error msg="no"']
)
def test_k3d_is_not_believed_a_success_that_it_complains_of(tools, screen, line):
    tools.add("k3d")
    tools.answer("k3d", "list", out=json.dumps([{"name": "x"}]))
    tools.answer("k3d", "import", out=f"INFO[0000] Importing\n{line}\nINFO[0003] Successfully imported\n")
    with pytest.raises(PreconditionFailed, match="k3d did not load"):
        load_image(screen, IMAGE, LoadTarget("k3d"))
    assert "loaded" not in screen._stream.getvalue()


@pytest.mark.parametrize(
    ("row", "loaded"),
    [
        ({"id": IMAGE_ID, "repoTags": [IMAGE]}, True),
        ({"id": f"sha256:{IMAGE_ID}", "repoTags": ["other:1", IMAGE]}, True),
        ({"id": "2e" * 32, "repoTags": [IMAGE]}, False),  # another image of that name was there before
        ({"id": IMAGE_ID, "repoTags": None}, False),
    ],
)
def test_minikube_is_believed_when_it_has_the_very_image(tools, screen, row, loaded):
    tools.add("minikube")
    tools.answer("minikube", "profile", out=PROFILES)
    tools.answer("minikube", "ls", out=json.dumps([{"id": "00"}, row]))
    if loaded:
        load_image(screen, IMAGE, LoadTarget("minikube", "team"))
    else:
        with pytest.raises(PreconditionFailed, match="minikube did not load"):
            load_image(screen, IMAGE, LoadTarget("minikube", "team"))
    assert command(tools, "load") == ["minikube", "-p", "team", "image", "load", "ARCHIVE"]
    assert "manifest.json" in loaded_archive(tools)


def make_socket(path) -> None:
    """The name of a socket: nobody listens, and it may be longer than bind(2) takes."""
    path.parent.mkdir(parents=True)
    os.mknod(path, stat.S_IFSOCK | 0o600)


def test_every_node_of_the_projects_own_cluster_is_given_the_image(tools, screen, tmp_path):
    tools.add("ctr")
    sockets = [tmp_path / f"run/telepresence-py-cluster/node{n}/containerd.sock" for n in (1, 2)]
    for path in sockets:
        make_socket(path)
    load_image(screen, IMAGE, LoadTarget("project"))
    for path in sockets:
        expected = ["ctr", "-a", str(path), "-n", "k8s.io", "images", "import", "ARCHIVE"]
        assert command(tools, "ctr", str(path)) == expected
    assert "into node1, node2" in screen._stream.getvalue()
    tools.answer("ctr", str(sockets[1]), out="ctr: no room\n", code=1)
    with pytest.raises(PreconditionFailed, match=r"into node2 \(node1 has it\) failed.*\n.*no room"):
        load_image(screen, IMAGE, LoadTarget("project"))


def test_a_socket_is_spoken_to_by_ctr(tools, screen, tmp_path):
    path = tmp_path / "c" / "containerd.sock"
    make_socket(path)
    with pytest.raises(PreconditionFailed, match="ctr, which speaks with"):
        load_image(screen, IMAGE, LoadTarget("containerd", str(path)))
    assert tools.calls() == []
    tools.add("ctr")
    load_image(screen, IMAGE, LoadTarget("containerd", str(path)))
    assert command(tools, "ctr")[:3] == ["ctr", "-a", str(path)]


def test_a_socket_of_roots_is_told_with_the_way_there(tools, screen, tmp_path, monkeypatch):
    tools.add("ctr")
    path = tmp_path / "c" / "containerd.sock"
    make_socket(path)
    access = os.access
    monkeypatch.setattr(os, "access", lambda name, mode: name != path and access(name, mode))
    with pytest.raises(PreconditionFailed, match=r"sidecar save FILE, then sudo ctr -a"):
        load_image(screen, IMAGE, LoadTarget("containerd", str(path)))
    assert tools.calls() == []


@pytest.mark.parametrize("tool", ["kind", "minikube", "k3d"])
def test_a_tool_that_is_missing_or_fails_is_told_before_anything_is_built(tools, screen, tool):
    with pytest.raises(PreconditionFailed, match=f"{tool} is not installed"):
        load_image(screen, IMAGE, LoadTarget(tool))
    tools.add(tool)
    tools.answer(tool, err="first\nno docker here\n", code=1)
    with pytest.raises(PreconditionFailed, match=r"failed: no docker here"):
        load_image(screen, IMAGE, LoadTarget(tool))
    assert tools.calls("podman") == []


def test_an_answer_that_is_no_json_is_told(tools, screen):
    tools.add("k3d")
    tools.answer("k3d", "list", out="k3d is old\n")
    with pytest.raises(PreconditionFailed, match="no JSON: 'k3d is old'"):
        load_image(screen, IMAGE, LoadTarget("k3d"))


def test_a_minikube_without_profiles_has_no_say_in_other_contexts(tools, contexts):
    tools.add("minikube")
    tools.answer("minikube", "profile", err="no profiles\n", code=14)
    with pytest.raises(BadUsage, match="context team"):
        find_target(contexts("team"))


def test_a_socket_in_a_directory_of_roots_is_not_said_to_be_missing(tools, screen, tmp_path, monkeypatch):
    tools.add("ctr")
    path = tmp_path / "closed" / "containerd.sock"

    def closed(_path):
        raise PermissionError

    monkeypatch.setattr(Path, "is_socket", closed)
    with pytest.raises(PreconditionFailed, match="belongs to root"):
        load_image(screen, IMAGE, LoadTarget("containerd", str(path)))


def test_without_the_projects_own_cluster_loading_names_the_ways_out(tools, screen):
    with pytest.raises(PreconditionFailed, match=r"cluster up.*--to"):
        load_image(screen, IMAGE, LoadTarget("project"))


def test_the_projects_own_cluster_may_be_there_and_not_be_ours(tools, screen, tmp_path):
    (tmp_path / "run" / "telepresence-py-cluster").mkdir(parents=True)  # which others may not list
    with pytest.raises(PreconditionFailed, match="belong to root"):
        load_image(screen, IMAGE, LoadTarget("project"))


@pytest.fixture
def contexts(tmp_path):
    """`contexts(current)`: the choice of a kubeconfig with these contexts."""

    def choose(current: str) -> ClusterChoice:
        names = ["kind-dev", "team", "prod"]
        contexts = [{"name": name, "context": {"cluster": "c", "user": "u"}} for name in names]
        config = {"apiVersion": "v1", "kind": "Config", "current-context": current, "contexts": contexts}
        config |= {"clusters": [{"name": "c", "cluster": {"server": "https://c"}}], "users": [{"name": "u"}]}
        path = tmp_path / "kubeconfig"
        path.write_text(json.dumps(config))
        return ClusterChoice(kubeconfig=str(path))

    return choose


def test_without_a_word_the_context_tells_where_and_minikube_is_asked_for_its_own(tools, contexts):
    assert find_target(contexts("kind-dev")) == LoadTarget("kind", "dev")
    with pytest.raises(BadUsage, match=r"context team .* --to kind.*sidecar push"):
        find_target(contexts("team"))
    tools.add("minikube")
    tools.answer("minikube", "profile", out=PROFILES)
    assert find_target(contexts("team")) == LoadTarget("minikube", "team")
    with pytest.raises(BadUsage, match="context prod"):
        find_target(contexts("prod"))


def test_a_context_that_is_misspelt_is_told_with_the_nearest(contexts, tools):
    choice = ClusterChoice(kubeconfig=contexts("team").kubeconfig, context="kind-dve")
    with pytest.raises(NamedObjectMissing, match='did you mean "kind-dev"'):
        find_target(choice)


def test_without_a_kubeconfig_it_is_the_projects_own_cluster_if_that_is_up(tools, tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(ClusterUnreachable):
        find_target(ClusterChoice())
    make_socket(tmp_path / "run/telepresence-py-cluster/node1/containerd.sock")
    assert find_target(ClusterChoice()) == LoadTarget("project")
