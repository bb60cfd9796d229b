from __future__ import annotations

import pytest

from telepresence_py.cli.load_target import (
    CONTAINERD_SOCKET,
    KUBELET_SOCKETS,
    MICROK8S_SOCKET,
    LoadTarget,
    choose_name,
    choose_socket,
    parse_load_target,
    target_of_context,
)
from telepresence_py.model.errors import BadUsage, NamedObjectMissing


@pytest.mark.parametrize(
    ("word", "target"),
    [
        ("kind", LoadTarget("kind")),
        ("kind:dev", LoadTarget("kind", "dev")),
        ("minikube:team", LoadTarget("minikube", "team")),
        ("containerd:/run/a.sock", LoadTarget("containerd", "/run/a.sock")),
        ("project", LoadTarget("project")),
    ],
)
def test_where_to_load_is_a_tool_and_perhaps_a_name(word, target):
    assert parse_load_target(word) == target


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("kinf", "did you mean 'kind'?"),
        ("mini:a", "did you mean 'minikube'?"),
        ("docker", "write kind"),
        ("", "write kind"),
        ("kind:", "write kind"),
        ("project:a", "write kind"),
    ],
)
def test_another_word_is_refused_with_the_nearest(word, hint):
    with pytest.raises(BadUsage) as refused:
        parse_load_target(word)
    assert hint in str(refused.value)


@pytest.mark.parametrize(
    ("context", "target"),
    [
        ("kind-dev", LoadTarget("kind", "dev")),
        ("k3d-k3s-default", LoadTarget("k3d", "k3s-default")),
        ("minikube", LoadTarget("minikube", "minikube")),
        ("microk8s", LoadTarget("containerd", MICROK8S_SOCKET)),
        ("telepresence-py", LoadTarget("project")),
        ("kind-", None),
        ("prod-eu", None),
    ],
)
def test_a_context_tells_its_cluster_by_its_name(context, target):
    assert target_of_context(context) == target


def test_the_cluster_is_the_named_one_or_the_default_one_or_the_only_one():
    assert choose_name(LoadTarget("kind", "dev"), ["kind", "dev"]) == "dev"
    assert choose_name(LoadTarget("k3d"), ["other", "k3s-default"]) == "k3s-default"
    assert choose_name(LoadTarget("kind"), ["dev"]) == "dev"


@pytest.mark.parametrize(
    ("target", "existing", "words"),
    [
        (LoadTarget("kind", "dve"), ["dev", "x"], "no cluster 'dve'; did you mean 'dev'?"),
        (LoadTarget("kind"), ["a", "b"], "no cluster 'kind'; there are a and b"),
        (LoadTarget("k3d"), [], "k3d has no cluster here"),
    ],
)
def test_a_cluster_that_is_not_there_is_told_with_those_that_are(target, existing, words):
    with pytest.raises(NamedObjectMissing, match=words.replace("?", r"\?")):
        choose_name(target, existing)


def test_the_socket_is_the_named_one_or_the_only_one_of_a_distribution_or_the_usual_one():
    assert choose_socket(LoadTarget("containerd", "/a"), ["/a", MICROK8S_SOCKET]) == "/a"
    assert choose_socket(LoadTarget("containerd"), [CONTAINERD_SOCKET, MICROK8S_SOCKET]) == MICROK8S_SOCKET
    assert choose_socket(LoadTarget("containerd"), [CONTAINERD_SOCKET]) == CONTAINERD_SOCKET


@pytest.mark.parametrize(
    ("target", "existing", "words"),
    [
        (LoadTarget("containerd", "/a"), [MICROK8S_SOCKET], f"no socket /a; there are {MICROK8S_SOCKET}"),
        (LoadTarget("containerd", "/a"), [], "no socket /a; no other"),
        (LoadTarget("containerd"), [], "none at a known place"),
        (LoadTarget("containerd"), list(KUBELET_SOCKETS), "several"),
    ],
)
def test_a_socket_that_is_not_there_or_not_the_only_one_is_asked_for(target, existing, words):
    with pytest.raises(NamedObjectMissing, match=words):
        choose_socket(target, existing)
