"""Bad input and bad circumstances: each has its exit code and a sentence that says what to do, soon."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from integration.probe.manifests import Workload, probe_config_map
from integration.probe.town import settle
from integration.support.aftermath import Before, assert_nothing_touched, remember
from integration.support.cluster import Cluster
from integration.support.namespaces import Namespace
from integration.support.product import Finished, Product

MakeProduct = Callable[..., Product]
SOON_SECONDS = 25.0
"""Within which every refusal must be there; most come in two."""


@pytest.fixture(scope="module")
def untouched(town: Namespace) -> Iterator[Before]:
    """`plain`, which every test here tries to swap in vain."""
    settle(town, probe_config_map(), *Workload("plain").objects())
    before = remember(town, "plain")
    yield before
    assert_nothing_touched(before)


@pytest.fixture(scope="session")
def admin(cluster: Cluster) -> dict[str, Any]:
    """A kubeconfig with all rights."""
    view: dict[str, Any] = json.loads(cluster.kubectl("config", "view", "--raw", "--minify", "-o", "json"))
    return view


def assert_refused(ended: Finished, code: int, *words: str) -> None:
    """One sentence with those words, no traceback, nothing on stdout."""
    assert ended.code == code, ended.err
    assert ended.out == ""
    assert "Traceback" not in ended.err
    sentence = ended.err.strip().splitlines()[-1]
    for word in words:
        assert word in sentence
    assert sentence.startswith("telepresence-py: ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["swap"], ["KIND/NAME"]),
        (["swap", "plain", "--no-such-option", "--", "true"], ["--no-such-option"]),
        (["swap", "plain", "--run-in", "app:1", "--build", "."], ["--run-in", "--build", "leave one"]),
        (
            ["swap", "plain", "--run-in", "app:1", "--method", "proxy"],
            ["--run-in", "--method podman", "proxy"],
        ),
        (["swap", "plain", "-p", "http", "--", "true"], ["http", "port"]),
        (["swap", "plain", "-p", "70000:8080", "--", "true"], ["70000"]),
        (["swap", "plain", "-p", "5353:53/udb", "--", "true"], ["'udb'", "5353:53/udp"]),
        (["swap", "plain", "-p", "1:53/udp", "-p", "2:53/udp", "--", "true"], ["twice", "53/udp"]),
        (["swap", "plain", "-p", "1:80", "-p", "2:80", "--", "true"], ["twice", "80"]),
        (["swap", "plain", "--grace", "soon", "--", "true"], ["soon"]),
        (["swap", "a/b/c", "--", "true"], ["a/b/c"]),
        (["swap", "./run.sh", "--verbose"], ["./run.sh", "--"]),
        (["swap", "plain", "--gracce", "30s", "--", "true"], ["--gracce", "--grace"]),
        (["swap", "plain", "--grace", "0", "--", "true"], ["--grace 0"]),
        (["swap", "plain", "--grace", "-1", "--", "true"], ["'-1'"]),
        (["swap", "plain", "--grace", "1e9", "--", "true"], ["1e9"]),
        (["swap", "plain", "--grace", "1000000000", "--", "true"], ["1000000000", "24 h"]),
        (["swap", "plain", "-n", "", "--", "true"], ["''", "namespace"]),
        (["swap", "plain", "-n", "a/b", "--", "true"], ["a/b", "namespace"]),
        (["swap", "plain", "--context", "", "--", "true"], ["--context"]),
        (["swap", "plain", "--image", "", "--", "true"], ["--image"]),
        (["swap", "plain", "--connect", "fats", "--", "true"], ["--connect", "fats", "fast"]),
        (["swap", "plain", "--method", "porxy", "--", "true"], ["--method", "porxy", "proxy"]),
        (["run", "--method", "redirct", "--", "true"], ["redirct", "redirect"]),
        (["run", "--method", "proxy", "--never", "db", "--", "true"], ["--method proxy", "--never db"]),
        (["run", "--method", "seccomp", "--never", "db", "--", "true"], ["--method seccomp", "--never db"]),
        (["run", "--method", "sudoo", "--", "true"], ["sudoo", "did you mean 'sudo'?"]),
        (["run", "--connect", "", "--", "true"], ["--connect", "truthful", "fast"]),
        (["swap", "plain", "--volume", "/data", "--", "true"], ["--volume /data", "PATH=WAY"]),
        (["swap", "plain", "--volume", "/probe=lvie", "--", "true"], ["lvie", "did you mean 'live'?"]),
        (["swap", "plain", "--mount", "true", "--", "true"], ["--mount 'true'", "directory"]),
        (["run", "--mount", "/proc/pod", "--", "true"], ["--mount /proc/pod"]),
        (["swap", "plain", "--file", "app.yaml", "--", "true"], ["--file app.yaml", "path in the container"]),
        (["run", "--file", "/etc/app.yaml", "--", "true"], ["--file /etc/app.yaml", "--like KIND/NAME"]),
        (["swap", "plain", "--watch", "/tmp", "--", "true"], ["--watch", "--restart"]),
        (["swap", "plain", "--env", "NAME", "--", "true"], ["--env", "NAME=VALUE"]),
        (["swap", "plain", "--env", "A B=s3cret", "--", "true"], ["--env", "did you mean AB?"]),
        (["swap", "plain", "--env-include", "A,B", "--", "true"], ["--env-include A --env-include B"]),
        (["swap", "plain", "--env-exclude", "DB_[", "--", "true"], ["--env-exclude", "DB_["]),
        (["swap", "plain", "--unset", "A=1", "--", "true"], ["--unset", "no value"]),
        (["swap", "plain", "--unset", "A", "--env", "A=1", "--", "true"], ["--env sets A", "--unset"]),
        (["swap", "plain", "--env-file", "x", "--env-format", "pwsh", "--", "true"], ["pwsh", "powershell"]),
        (["swap", "plain", "--env-format", "shell", "--", "true"], ["--env-file FILE"]),
        (
            ["run", "--env-file", "x", "--env-format", "docker", "--env", "A=a\nb", "--", "true"],
            ["'A' (values of several lines)", "--env-format"],
        ),
        (["swap", "plain", "--via-laptop", "http://x/", "--", "true"], ["--via-laptop http://x/", "HOST"]),
        (["swap", "plain", "--never", "10.1.2.3/8", "--", "true"], ["10.1.2.3/8", "10.0.0.0/8"]),
        (["run", "--never", "db:http", "--", "true"], ["--never db:http", "port"]),
        (
            ["run", "--never", "db:1", "--via-laptop", "DB:1", "--", "true"],
            ["--via-laptop db:1", "--never db:1"],
        ),
        (["swap", "plain", "--publish", "http", "--", "true"], ["--publish http", "port"]),
        (["swap", "plain", "--publish", "0.0.0.0:80:80", "--", "true"], ["--publish", "LAPTOP:CHILD"]),
        (["swap", "plain", "--publish", "81:1", "--publish", "81:2", "--", "true"], ["twice", "81"]),
        (["run", "--pod-localhost", "0", "--", "true"], ["--pod-localhost 0"]),
        (["run", "--from-pod", "70000", "--", "true"], ["--from-pod 70000"]),
        (["run", "--from-pod", "1", "--pod-localhost", "1", "--", "true"], ["contradict"]),
        (["swap", "plain", "--from_pod", "1", "--", "true"], ["--from_pod", "--from-pod"]),
        (["sidecar", "psuh"], ["psuh", "push"]),
        (["sidecar", "load", "--to", "kinf"], ["kinf", "kind"]),
        (["swop", "plain"], ["swop", "swap"]),
        (["restore"], ["--all"]),
    ],
)
def test_a_malformed_command_line_is_usage(
    townsman: Product, untouched: Before, arguments: list[str], words: list[str]
) -> None:
    assert_refused(townsman.run(*arguments), 2, *words)


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("/tmp", 126, ["/tmp", "directory"]),
        ("/etc/passwd", 126, ["/etc/passwd"]),
        ("", 127, ["''"]),
        ("no-such-command-\udcff", 127, ["no-such-command"]),
    ],
)
def test_what_is_no_command_is_refused_before_the_cluster_is_asked(
    townsman: Product, untouched: Before, command: str, code: int, words: list[str]
) -> None:
    ended = townsman.run("swap", "plain", "--", command)
    assert_refused(ended, code, *words)
    assert "Reading" not in ended.err


def test_an_unknown_workload_names_the_nearest(townsman: Product, untouched: Before) -> None:
    ended = townsman.run("swap", "deployment/plian", "--", "true", seconds=SOON_SECONDS)
    assert_refused(ended, 66, "plian", "plain")


def test_a_path_to_watch_that_is_not_there_names_the_nearest(townsman: Product, untouched: Before) -> None:
    options = ("--restart", "--watch", "/etc/host_name")
    ended = townsman.run("swap", "plain", *options, "--", "true")
    assert_refused(ended, 66, "/etc/host_name", "/etc/hostname")


def test_a_volume_that_is_not_mounted_names_the_nearest(townsman: Product, untouched: Before) -> None:
    ended = townsman.run("swap", "plain", "--volume", "/porbe=copy", "--", "true")
    assert_refused(ended, 66, "--volume /porbe=copy", "mounts nothing there", 'did you mean "/probe"')


def test_an_unknown_container_names_those_there_are(townsman: Product, untouched: Before) -> None:
    ended = townsman.run("swap", "plain:mian", "--", "true", seconds=SOON_SECONDS)
    assert_refused(ended, 66, "mian", "main")


def test_an_unknown_port_names_those_there_are(townsman: Product, untouched: Before) -> None:
    ended = townsman.run("swap", "plain", "-p", "8080:9000", "--", "true", seconds=SOON_SECONDS)
    assert_refused(ended, 66, "9000", "8080")
    ended = townsman.run("swap", "plain", "-p", "9000:8080/udp", "--", "true", seconds=SOON_SECONDS)
    assert_refused(ended, 66, "no UDP port 8080", "-p 9000:8080?")


def test_a_port_to_publish_that_the_laptop_has_itself_is_refused(
    townsman: Product, untouched: Before
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as theirs:
        port = theirs.getsockname()[1]
        options = ("--publish", f"{port}:8080")
        ended = townsman.run("swap", "plain", *options, "--", "true", seconds=SOON_SECONDS)
    assert_refused(ended, 78, f"port {port}", "--publish 18080:8080")


def test_a_port_that_the_laptop_has_is_refused_where_the_command_would_listen_on_the_laptop(
    townsman: Product, untouched: Before
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as theirs:
        port = theirs.getsockname()[1]
        options = ("--method", "proxy", "-p", f"{port}:8080")
        ended = townsman.run("swap", "plain", *options, "--", "true", seconds=SOON_SECONDS)
    assert_refused(ended, 78, f"port {port}", "-p OTHER:8080")


def test_the_commands_own_port_is_not_looked_for_in_the_pod(townsman: Product, untouched: Before) -> None:
    options = ("--pod-localhost", "8080")
    ended = townsman.run("swap", "plain", *options, "--", "true", seconds=SOON_SECONDS)
    assert_refused(ended, 2, "--pod-localhost 8080", "own")


def test_what_redirection_does_not_keep_is_refused(townsman: Product, untouched: Before) -> None:
    options = ("--method", "redirect", "--pod-localhost", "5432")
    ended = townsman.run("swap", "plain", *options, "--", "true", seconds=SOON_SECONDS)
    assert_refused(ended, 78, "--pod-localhost 5432", "--method userns")


def test_a_port_of_another_container_names_that_container(town: Namespace, townsman: Product) -> None:
    sibling = Workload("beside", listen=("http:8081",)).main_container()
    sibling |= {"name": "beside", "ports": [{"name": "beside", "containerPort": 8081}]}
    settle(town, probe_config_map(), Workload("couple", siblings=(sibling,)).deployment())
    before = remember(town, "couple")
    ended = townsman.run("swap", "couple:main", "-p", "9000:8081", "--", "true", seconds=SOON_SECONDS)
    assert_refused(ended, 66, "8081", "beside")
    assert_nothing_touched(before)


def test_an_unknown_context_names_the_nearest(townsman: Product, untouched: Before) -> None:
    ended = townsman.run("swap", "plain", "--context", "testz", "--", "true", seconds=SOON_SECONDS)
    assert_refused(ended, 66, "testz", "tests")


def test_a_kubeconfig_that_is_not_there_is_named(townsman: Product, untouched: Before) -> None:
    ended = townsman.run("swap", "plain", "--kubeconfig", "/no/such/file", "--", "true", seconds=SOON_SECONDS)
    assert_refused(ended, 66, "/no/such/file")


def test_an_unknown_namespace_is_told_to_whom_may_know(
    products: MakeProduct, admin: dict[str, Any], town: Namespace
) -> None:
    product = products(kubeconfig=admin)
    misspelt = town.name[:-1]
    ended = product.run("swap", "plain", "-n", misspelt, "--", "true", seconds=SOON_SECONDS)
    assert_refused(ended, 66, misspelt, town.name)


def test_an_unknown_namespace_is_no_rights_to_whom_may_not_know(townsman: Product) -> None:
    ended = townsman.run("swap", "plain", "-n", "nowhere", "--", "true", seconds=SOON_SECONDS)
    assert_refused(ended, 77, "nowhere")


def test_an_api_server_that_does_not_answer_is_unreachable(products: MakeProduct, town: Namespace) -> None:
    kubeconfig = town.developer_kubeconfig()
    kubeconfig["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"
    product = products(kubeconfig=kubeconfig)
    ended = product.run("swap", "plain", "--", "true", seconds=SOON_SECONDS)
    assert_refused(ended, 69, "https://127.0.0.1:9")


def test_an_expired_token_is_told(products: MakeProduct, town: Namespace) -> None:
    kubeconfig = town.developer_kubeconfig()
    kubeconfig["users"][0]["user"]["token"] = "expired"
    ended = products(kubeconfig=kubeconfig).run("swap", "plain", "--", "true", seconds=SOON_SECONDS)
    assert_refused(ended, 69, "credentials")


def test_lacking_rights_names_verb_and_resource(
    products: MakeProduct, town: Namespace, untouched: Before
) -> None:
    ended = products(town, role="view").run("swap", "plain", "--", "true", seconds=SOON_SECONDS)
    assert_refused(ended, 77, "create", "pods")


def test_a_missing_image_names_the_commands_that_make_it(townsman: Product, untouched: Before) -> None:
    image = "localhost/no-such-sidecar:1"
    ended = townsman.run("swap", "plain", "--image", image, "--", "true", seconds=SOON_SECONDS)
    assert_refused(ended, 78, image, "telepresence-py sidecar build", "--image")


def test_a_full_quota_is_told_before_anything_is_touched(namespace: Namespace, product: Product) -> None:
    settle(namespace, probe_config_map(), *Workload("plain").objects())
    before = remember(namespace, "plain")
    namespace.apply(
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "full"},
            "spec": {"hard": {"pods": "1"}},
        }
    )
    namespace.kubectl("wait", "--for=jsonpath={.status.used.pods}=1", "resourcequota/full", "--timeout=20s")
    ended = product.run("swap", "plain", "--", "true", seconds=SOON_SECONDS)
    assert_refused(ended, 78, "quota")
    assert_nothing_touched(before)


def test_refused_user_namespaces_name_the_step_and_the_cure(townsman: Product, untouched: Before) -> None:
    """A user namespace in which no further ones may be made stands for a kernel that refuses them."""
    refusing = "echo 0 >/proc/sys/user/max_user_namespaces && exec telepresence-py swap plain -- true"
    ended = townsman.start_command(["unshare", "--user", "--map-root-user", "sh", "-c", refusing]).finish()
    assert_refused(ended, 78, "user namespace", "max_user_namespaces", "--method proxy")


def test_a_protected_context_is_refused_without_a_terminal_and_asks_in_one(
    townsman: Product, untouched: Before
) -> None:
    settings = townsman.directory / "settings" / "telepresence-py"
    settings.mkdir(parents=True)
    (settings / "config.toml").write_text('protected_contexts = ["tes*"]')
    protecting = {"XDG_CONFIG_HOME": str(settings.parent)}
    ended = townsman.run("swap", "plain", "--", "true", environment=protecting, seconds=SOON_SECONDS)
    assert_refused(ended, 78, "tests", "protected")
    terminal = townsman.terminal("swap", "plain", "--", "true", environment=protecting)
    terminal.wait_screen(r"tests.*protected.*\?")
    terminal.type("n\n")
    assert terminal.wait() == 78


@pytest.mark.parametrize("kind", ["statefulset", "daemonset", "job", "cronjob", "pod"])
def test_a_kind_that_is_not_supported_is_refused_with_the_reason_and_an_alternative(
    townsman: Product, kind: str
) -> None:
    ended = townsman.run("swap", f"{kind}/plain", "--", "true", seconds=SOON_SECONDS)
    assert_refused(ended, 78, f"{kind}/plain", "run --like")


@pytest.mark.parametrize("kind", ["rs", "rc", "rollout"])
def test_an_unknown_workload_of_another_kind_names_the_nearest(
    town: Namespace, townsman: Product, kind: str
) -> None:
    workload = Workload("nearby", replicas=0)
    made = {"rs": workload.replicaset(), "rc": workload.replicationcontroller()}
    town.apply(*made.values())
    ended = townsman.run("swap", f"{kind}/naerby", "--", "true", seconds=SOON_SECONDS)
    assert_refused(ended, 66, "naerby", *(['did you mean "nearby"'] if kind in made else ["replicaset"]))


def test_a_kind_that_has_no_replicasets_is_usage(townsman: Product) -> None:
    ended = townsman.run("swap", "service/plain", "--", "true", seconds=SOON_SECONDS)
    assert_refused(ended, 2, "service", "deployment/NAME")


def test_a_kind_that_is_misspelt_names_the_nearest(townsman: Product) -> None:
    ended = townsman.run("swap", "replicaest/plain", "--", "true", seconds=SOON_SECONDS)
    assert_refused(ended, 2, "replicaest", "replicaset")
