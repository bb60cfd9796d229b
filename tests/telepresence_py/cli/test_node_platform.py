"""The nodes' platform, or none when it cannot be known."""

from __future__ import annotations

from telepresence_py.cli.node_platform import platforms_of_nodes
from telepresence_py.model.intent import ClusterChoice
from tests.fakes.cluster import fake_cluster, write_kubeconfig


def node(name: str, architecture: str) -> dict:
    info = {"operatingSystem": "linux", "architecture": architecture}
    return {"metadata": {"name": name}, "status": {"nodeInfo": info}}


def test_the_nodes_tell_their_platforms(tmp_path):
    with fake_cluster() as cluster:
        for name, architecture in (("a", "arm64"), ("b", "arm64"), ("c", "amd64")):
            cluster.objects["nodes", name] = node(name, architecture)
        choice = ClusterChoice(write_kubeconfig(tmp_path / "kubeconfig", cluster.url))
        assert platforms_of_nodes(choice) == {"linux/arm64", "linux/amd64"}


def test_without_the_right_to_see_nodes_nothing_is_known(tmp_path):
    with fake_cluster() as cluster:
        cluster.refuse = lambda _method, path, _body: (403, "nodes is forbidden") if "nodes" in path else None
        choice = ClusterChoice(write_kubeconfig(tmp_path / "kubeconfig", cluster.url))
        assert platforms_of_nodes(choice) == frozenset()


def test_without_a_cluster_nothing_is_known(tmp_path):
    assert platforms_of_nodes(ClusterChoice(str(tmp_path / "none"))) == frozenset()
