"""The image on its way: to a private registry and from there into pods, to a containerd, into a file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from integration.probe.manifests import Workload, probe_config_map
from integration.probe.swapping import swapped
from integration.probe.town import settle
from integration.support.aftermath import assert_nothing_touched, remember, sidecar_pods
from integration.support.cluster import Cluster
from integration.support.namespaces import Namespace, write_kubeconfig
from integration.support.product import Finished, Product
from integration.support.registry import PASSWORD, USER, Registry, registry_for
from telepresence_py.cli.sidecar_image import name_for, this_platform
from telepresence_py.model.image import DEFAULT_IMAGE, IMAGE_NAME
from telepresence_sidecar.contract import __version__

pytestmark = pytest.mark.own_cluster

MakeNamespace = Callable[..., Namespace]
SETTINGS = """\
# what the team agreed upon
protected_contexts = ["prod-*"]  # ask first
"""
ANOTHER = "linux/arm64" if this_platform() == "linux/amd64" else "linux/amd64"


@dataclass(frozen=True)
class Pusher:
    """Root, who has the image, with settings, logins and a kubeconfig of its own."""

    directory: Path
    registry: Registry

    @property
    def settings(self) -> Path:
        return self.directory / "telepresence-py" / "config.toml"

    def run(self, *arguments: str) -> Finished:
        program = str(Path(sys.executable).with_name("telepresence-py"))
        done = subprocess.run(
            [program, "sidecar", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    def login(self) -> None:
        login = ["buildah", "login", "--tls-verify=false", "-u", USER, "-p", PASSWORD, self.registry.host]
        subprocess.run(login, env=self.environment, check=True, stdout=subprocess.DEVNULL)

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "XDG_CONFIG_HOME": str(self.directory),
            "REGISTRY_AUTH_FILE": str(self.directory / "logins.json"),
            "KUBECONFIG": str(self.directory / "kubeconfig"),
            "TELEPRESENCE_PY_IMAGE": "",
        }


@pytest.fixture(scope="module")
def registry(cluster: Cluster) -> Iterator[Registry]:
    with registry_for(cluster) as registry:
        yield registry


@pytest.fixture(scope="module")
def team(namespaces: MakeNamespace) -> Namespace:
    """A namespace with `plain`, whose developers share an image."""
    namespace = namespaces("team")
    settle(namespace, probe_config_map(), *Workload("plain").objects())
    return namespace


@pytest.fixture(scope="module")
def pusher(
    registry: Registry, team: Namespace, sidecar_image: None, tmp_path_factory: pytest.TempPathFactory
) -> Pusher:
    """Not logged in, with settings that are to stay."""
    pusher = Pusher(tmp_path_factory.mktemp("pusher"), registry)
    pusher.settings.parent.mkdir()
    pusher.settings.write_text(SETTINGS)
    (pusher.directory / "logins.json").write_text("{}")
    write_kubeconfig(pusher.directory / "kubeconfig", team.developer_kubeconfig())
    return pusher


def assert_refused(ended: Finished, code: int, *words: str) -> None:
    """One sentence at the end with those words, and nothing on stdout."""
    assert (ended.code, ended.out) == (code, ""), ended.err
    sentence = ended.err.strip().splitlines()[-1]
    assert sentence.startswith("telepresence-py: ")
    assert [word for word in words if word not in sentence] == [], sentence


@pytest.fixture(scope="module")
def refused(pusher: Pusher) -> Finished:
    """A push before anybody has logged in."""
    return pusher.run("push", f"{pusher.registry.host}/team", "--insecure")


@pytest.fixture(scope="module")
def pushed(pusher: Pusher, refused: Finished) -> Finished:
    """The first push of somebody who has logged in."""
    pusher.login()
    return pusher.run("push", f"{pusher.registry.host}/team", "--insecure")


def reference(registry: Registry) -> str:
    return f"{registry.host}/team/{IMAGE_NAME}:{__version__}"


def test_a_push_without_a_login_is_one_sentence_with_the_way_there(pusher: Pusher, refused: Finished) -> None:
    words = (reference(pusher.registry), f"buildah login {pusher.registry.host}", "unauthorized")
    assert_refused(refused, 78, *words)


def test_a_registry_of_plain_http_is_told_by_the_option(pusher: Pusher) -> None:
    ended = pusher.run("push", pusher.registry.host)
    assert_refused(ended, 78, "plain HTTP", "--insecure")


def test_a_registry_that_is_not_there_is_told(pusher: Pusher) -> None:
    assert_refused(pusher.run("push", "127.0.0.1:9", "--insecure"), 78, "127.0.0.1:9 does not answer")
    assert_refused(pusher.run("push", "registry.invalid"), 78, "no host has that name", "registry.invalid")
    assert pusher.settings.read_text().startswith(SETTINGS)


def test_a_pushed_image_is_in_the_registry_and_remembered(pusher: Pusher, pushed: Finished) -> None:
    image = reference(pusher.registry)
    assert pushed.code == 0, pushed.err
    digest, manifest = pusher.registry.manifest(f"team/{IMAGE_NAME}", __version__)
    assert f"pinned: {image}@{digest}" in pushed.err
    assert manifest["layers"]
    remembered = f'{SETTINGS}\n[contexts.tests]\nimage = "{image}"\n'
    assert pusher.settings.read_text() == remembered
    assert pusher.run("image").out == f"{image}\n"


def test_an_unchanged_image_is_not_uploaded_again(pusher: Pusher, pushed: Finished) -> None:
    before = len(pusher.registry.requests())
    settings = pusher.settings.read_text()
    again = pusher.run("push", f"{pusher.registry.host}/team", "--insecure")
    assert again.code == 0, again.err
    asked = pusher.registry.requests()[before:]
    assert [request for request in asked if not request.startswith(("GET", "HEAD"))] == [
        f"PUT /v2/team/{IMAGE_NAME}/manifests/{__version__}"
    ]
    assert pusher.settings.read_text() == settings


def test_images_for_several_platforms_become_one_list(
    pusher: Pusher, pushed: Finished, tmp_path: Path
) -> None:
    """An image with one file stands for that of the platform whose programs do not run here."""
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    stand_in = ["buildah", "bud", "-q", "--platform", ANOTHER, "-t", name_for(ANOTHER), str(tmp_path)]
    subprocess.run(stand_in, check=True, stdout=subprocess.DEVNULL)
    platforms = {this_platform(), ANOTHER}
    target = f"{pusher.registry.host}/team/list:both"
    try:
        ended = pusher.run("push", target, "--insecure", "--no-remember", "--platform", ",".join(platforms))
    finally:
        for platform in platforms:
            subprocess.run(["buildah", "rmi", name_for(platform)], check=False, capture_output=True)
    assert ended.code == 0, ended.err
    digest, index = pusher.registry.manifest("team/list", "both")
    assert f"{target}@{digest}" in ended.err
    found = {f"{one['platform']['os']}/{one['platform']['architecture']}" for one in index["manifests"]}
    assert found == platforms
    assert target not in pusher.settings.read_text()


def test_a_swap_runs_the_remembered_image_once_the_nodes_may_pull_it(
    pusher: Pusher, pushed: Finished, team: Namespace, products: Callable[..., Product]
) -> None:
    """First refused by the registry, and by a sentence; then with the service account's imagePullSecret."""
    product = products(team)
    settings = product.directory / "telepresence-py"
    settings.mkdir()
    (settings / "config.toml").write_text(pusher.settings.read_text())
    product.user.give(settings)
    shared = {"XDG_CONFIG_HOME": str(product.directory)}
    image, before = reference(pusher.registry), remember(team, "plain")
    ended = product.run("swap", "plain", "--", "true", environment=shared)
    assert_refused(ended, 78, image, pusher.registry.host, "imagePullSecret", "docs/image.md")
    assert_nothing_touched(before)

    team.apply(pusher.registry.pull_secret("team-registry"))
    patch = json.dumps({"imagePullSecrets": [{"name": "team-registry"}]})
    team.kubectl("patch", "serviceaccount", "default", "-p", patch)
    with swapped(product, "plain", environment=shared) as swap:
        (pod,) = sidecar_pods(team)
        (main,) = (one for one in pod["spec"]["containers"] if one["name"] == "main")
        assert (main["image"], main["imagePullPolicy"]) == (image, "IfNotPresent")
        digest, _manifest = pusher.registry.manifest(f"team/{IMAGE_NAME}", __version__)
        (running,) = (one for one in pod["status"]["containerStatuses"] if one["name"] == "main")
        assert running["imageID"] == f"{image.rpartition(':')[0]}@{digest}"
        assert swap.end() == 0


def test_a_containerd_is_given_the_image_by_its_socket(pusher: Pusher, cluster: Cluster) -> None:
    name = "localhost/telepresence-py-sidecar:load-test"
    assert cluster.kubeconfig is not None
    node_socket = cluster.kubeconfig.parent / "node1" / "containerd.sock"
    images = ["ctr", "-a", str(node_socket), "-n", "k8s.io", "images"]
    subprocess.run(["buildah", "tag", DEFAULT_IMAGE, name], check=True)
    try:
        ended = pusher.run("load", "--image", name, "--to", f"containerd:{node_socket}")
        assert ended.code == 0, ended.err
        check = subprocess.run(
            [*images, "check", f"name=={name}"], capture_output=True, text=True, check=True
        )
        assert "complete" in check.stdout
    finally:
        subprocess.run([*images, "rm", name], check=False, capture_output=True)
        subprocess.run(["buildah", "rmi", name], check=True, stdout=subprocess.DEVNULL)


def test_a_saved_file_is_a_whole_archive(pusher: Pusher, tmp_path: Path) -> None:
    file = tmp_path / "sidecar.tar"
    ended = pusher.run("save", str(file))
    assert ended.code == 0, ended.err
    with tarfile.open(file) as tar:
        manifest = tar.extractfile("manifest.json")
        assert manifest is not None
        (image,) = json.load(manifest)
        assert image["RepoTags"] == [DEFAULT_IMAGE]
        assert {image["Config"], *image["Layers"]} <= set(tar.getnames())
