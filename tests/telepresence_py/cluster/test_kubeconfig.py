from __future__ import annotations

import json

import pytest

from telepresence_py.cluster.exchange import Exchange
from telepresence_py.cluster.kubeconfig import choose_context, load_access
from telepresence_py.model.errors import ClusterUnreachable, NamedObjectMissing, PreconditionFailed
from telepresence_py.model.intent import ClusterChoice


def config(path, *contexts, current=None, user=None):
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": "https://api:6443/base/"}}],
        "users": [{"name": "u", "user": user or {"token": "secret"}}],
        "contexts": [
            {"name": name, "context": {"cluster": "c", "user": "u"} | ({"namespace": space} if space else {})}
            for name, space in contexts
        ],
    }
    if current:
        document["current-context"] = current
    path.write_text(json.dumps(document))
    return str(path)


def test_the_current_context_and_its_namespace_are_the_default(tmp_path):
    path = config(tmp_path / "one", ("dev", "shop"), ("prod", None), current="dev")
    chosen = choose_context(ClusterChoice(path))
    assert (chosen.context, chosen.namespace, chosen.contexts) == ("dev", "shop", ("dev", "prod"))


def test_context_and_namespace_of_the_command_line_win(tmp_path):
    path = config(tmp_path / "one", ("dev", "shop"), ("prod", None), current="dev")
    assert choose_context(ClusterChoice(path, "prod")).namespace == "default"
    assert choose_context(ClusterChoice(path, "prod", "here")).namespace == "here"


def test_of_several_files_the_first_that_names_a_current_context_decides(tmp_path):
    first = config(tmp_path / "one", ("a", "from-one"))
    second = config(tmp_path / "two", ("b", None), ("a", "from-two"), current="a")
    third = config(tmp_path / "three", ("c", None), current="c")
    chosen = choose_context(ClusterChoice(), {"KUBECONFIG": f"{first}:{second}:{third}"})
    assert (chosen.context, chosen.namespace) == ("a", "from-one")
    assert chosen.contexts == ("a", "b", "c")


def test_an_unknown_context_is_told_with_the_nearest_one(tmp_path):
    path = config(tmp_path / "one", ("staging", None), current="staging")
    with pytest.raises(NamedObjectMissing, match='did you mean "staging"'):
        choose_context(ClusterChoice(path, "stagin"))


def test_a_file_that_was_named_and_is_not_there_is_missing(tmp_path):
    with pytest.raises(NamedObjectMissing, match="nowhere"):
        choose_context(ClusterChoice(str(tmp_path / "nowhere")))


def test_without_any_kubeconfig_there_is_no_cluster(tmp_path):
    with pytest.raises(ClusterUnreachable, match="--kubeconfig"):
        choose_context(ClusterChoice(), {"KUBECONFIG": str(tmp_path / "nowhere")})


def test_a_kubeconfig_without_current_context_asks_for_one(tmp_path):
    with pytest.raises(NamedObjectMissing, match="--context"):
        choose_context(ClusterChoice(config(tmp_path / "one", ("dev", None))))


@pytest.mark.parametrize("text", [": : :", "[]", "contexts: 3", ""])
def test_a_broken_kubeconfig_is_refused_in_one_line(tmp_path, text):
    (tmp_path / "broken").write_text(text)
    with pytest.raises((PreconditionFailed, NamedObjectMissing)) as caught:
        choose_context(ClusterChoice(str(tmp_path / "broken")))
    assert "\n" not in str(caught.value)


def test_credentials_are_ready_for_requests_and_are_not_shown(tmp_path):
    access = load_access(ClusterChoice(config(tmp_path / "one", ("dev", None), current="dev")))
    assert access.server == "https://api:6443/base"
    exchange = Exchange(access)
    assert exchange.credentials() == (("authorization", "Bearer secret"),)
    assert "secret" not in repr(access)
    exchange.close()


def test_certificates_that_cannot_be_found_are_told(tmp_path):
    path = config(tmp_path / "one", ("dev", None), current="dev", user={"client-certificate": "/nowhere.pem"})
    with pytest.raises(ClusterUnreachable, match=r"nowhere\.pem"):
        load_access(ClusterChoice(path))


def test_a_login_plugin_is_run_for_its_token(tmp_path):
    credential = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential"}
    answer = json.dumps(credential | {"status": {"token": "from-plugin"}})
    plugin = {
        "apiVersion": credential["apiVersion"],
        "command": "echo",
        "args": [answer],
        "interactiveMode": "Never",
    }
    path = config(tmp_path / "one", ("dev", None), current="dev", user={"exec": plugin})
    exchange = Exchange(load_access(ClusterChoice(path)))
    assert exchange.credentials() == (("authorization", "Bearer from-plugin"),)
    exchange.close()
