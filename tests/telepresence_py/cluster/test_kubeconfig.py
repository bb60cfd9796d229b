from __future__ import annotations

import base64
import json

import pytest

from telepresence_py.cluster.kubeconfig import load_access
from telepresence_py.model.errors import ClusterUnreachable, NamedObjectMissing, PreconditionFailed
from telepresence_py.model.intent import ClusterChoice

NOWHERE = {"HOME": "/nowhere"}


def config(path, *contexts, current=None, user=None, cluster=None):
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": "https://api:6443/base/"} | (cluster or {})}],
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


def one(tmp_path, **parts):
    return load_access(ClusterChoice(config(tmp_path / "one", ("dev", None), current="dev", **parts)), {})


def test_the_current_context_and_its_namespace_are_the_default(tmp_path):
    path = config(tmp_path / "one", ("dev", "shop"), ("prod", None), current="dev")
    access = load_access(ClusterChoice(path), {})
    assert (access.context, access.namespace, access.server) == ("dev", "shop", "https://api:6443/base")


def test_context_and_namespace_of_the_command_line_win(tmp_path):
    path = config(tmp_path / "one", ("dev", "shop"), ("prod", None), current="dev")
    assert load_access(ClusterChoice(path, "prod"), {}).namespace == "default"
    assert load_access(ClusterChoice(path, "prod", "here"), {}).namespace == "here"


def test_of_several_files_the_first_that_says_something_decides_and_missing_ones_are_skipped(tmp_path):
    first = config(tmp_path / "one", ("a", "from-one"), user={"token": "first"})
    second = config(tmp_path / "two", ("b", "x"), ("a", "from-two"), current="a", user={"token": "second"})
    third = config(tmp_path / "three", ("c", None), current="c")
    (tmp_path / "empty").write_text("")
    paths = [tmp_path / "nowhere", "", first, tmp_path / "empty", second, third]
    environment = {"KUBECONFIG": ":".join(map(str, paths))}
    access = load_access(ClusterChoice(), environment)
    assert (access.context, access.namespace) == ("a", "from-one")
    assert access.read_login().user.token == "first"
    assert load_access(ClusterChoice(context="b"), environment).namespace == "x"


def test_entries_of_one_context_may_stand_in_several_files(tmp_path):
    context = {"name": "split", "context": {"cluster": "far", "user": "u"}}
    (tmp_path / "contexts").write_text(json.dumps({"contexts": [context], "current-context": "split"}))
    cluster = {"name": "far", "cluster": {"server": "https://far"}}
    (tmp_path / "clusters").write_text(json.dumps({"clusters": [cluster]}))
    users = config(tmp_path / "users")
    access = load_access(
        ClusterChoice(), {"KUBECONFIG": f"{tmp_path / 'contexts'}:{tmp_path / 'clusters'}:{users}"}
    )
    assert (access.server, access.read_login().user.token) == ("https://far", "secret")


def test_relative_paths_are_relative_to_the_file_they_stand_in(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "ca.pem").write_text("the authority")
    user = {"client-certificate": "c.pem", "client-key": "k.pem", "tokenFile": "../token"}
    path = config(
        tmp_path / "sub" / "one",
        ("dev", None),
        current="dev",
        user=user,
        cluster={"certificate-authority": "ca.pem"},
    )
    access = load_access(ClusterChoice(path), {})
    user = access.read_login().user
    assert access.cluster.authority == b"the authority"
    assert (user.certificate.path, user.key.path) == (f"{tmp_path}/sub/c.pem", f"{tmp_path}/sub/k.pem")
    assert user.token_path == f"{tmp_path}/sub/../token"


def test_the_login_is_read_anew_from_the_files(tmp_path):
    access = one(tmp_path)
    config(tmp_path / "one", ("dev", None), ("prod", None), current="prod", user={"token": "renewed"})
    assert access.read_login().user.token == "renewed"


def test_an_unknown_context_is_told_with_the_nearest_one(tmp_path):
    path = config(tmp_path / "one", ("staging", None), current="staging")
    with pytest.raises(NamedObjectMissing, match='did you mean "staging"'):
        load_access(ClusterChoice(path, "stagin"), {})


def test_a_context_without_a_user_is_somebody_unknown(tmp_path):
    document = json.loads((tmp_path / config(tmp_path / "one", ("dev", None), current="dev")).read_text())
    del document["contexts"][0]["context"]["user"]
    (tmp_path / "one").write_text(json.dumps(document))
    login = load_access(ClusterChoice(str(tmp_path / "one")), {}).read_login()
    assert (login.user.token, login.plugin) == ("", None)


@pytest.mark.parametrize("kind", ["cluster", "user"])
def test_a_context_that_names_what_is_not_there_is_told(tmp_path, kind):
    document = json.loads((tmp_path / config(tmp_path / "one", ("dev", None), current="dev")).read_text())
    document["contexts"][0]["context"][kind] = "gone"
    (tmp_path / "one").write_text(json.dumps(document))
    with pytest.raises(NamedObjectMissing, match=f'no {kind} "gone".*context "dev"'):
        load_access(ClusterChoice(str(tmp_path / "one")), {})


def test_a_file_that_was_named_and_is_not_there_is_missing(tmp_path):
    with pytest.raises(NamedObjectMissing, match="nowhere"):
        load_access(ClusterChoice(str(tmp_path / "nowhere")), {})


def test_without_any_kubeconfig_there_is_no_cluster(tmp_path):
    with pytest.raises(ClusterUnreachable, match="--kubeconfig"):
        load_access(ClusterChoice(), {"KUBECONFIG": str(tmp_path / "nowhere")}, tmp_path)


def test_a_kubeconfig_without_current_context_asks_for_one(tmp_path):
    with pytest.raises(NamedObjectMissing, match="--context"):
        load_access(ClusterChoice(config(tmp_path / "one", ("dev", None))), {})


@pytest.mark.parametrize(
    "text",
    [": : :", "[]", "contexts: 3", "users: [3]", "users: [{user: {}}]", "", "users: [{name: x, user: ["],
)
def test_a_broken_kubeconfig_is_refused_in_one_line(tmp_path, text):
    (tmp_path / "broken").write_text(text)
    with pytest.raises((PreconditionFailed, NamedObjectMissing)) as caught:
        load_access(ClusterChoice(str(tmp_path / "broken")), {})
    assert "\n" not in str(caught.value)


def test_a_broken_kubeconfig_is_not_quoted(tmp_path):
    (tmp_path / "broken").write_text("users:\n- name: u\n  user: {token: s3cret, : ]\n")
    with pytest.raises(PreconditionFailed, match="line 3") as caught:
        load_access(ClusterChoice(str(tmp_path / "broken")), {})
    assert "s3cret" not in str(caught.value)


def test_secrets_are_not_shown(tmp_path):
    access = one(tmp_path, user={"token": "s3cret"}, cluster={"proxy-url": "http://me:s3cret@proxy"})
    assert "s3cret" not in repr((access, access.read_login()))


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ({"token": "t", "username": "u", "password": "p"}, "both a token and a password"),
        ({"client-certificate-data": base64.b64encode(b"c").decode()}, "without a client-key"),
        ({"client-certificate-data": "???", "client-key": "k"}, "not base64"),
        ({"token": 7}, "must be text"),
        ({"token": "a\nb"}, "line break"),
        ({"exec": {"command": "x"}, "auth-provider": {"name": "oidc"}}, "both exec and auth-provider"),
        ({"auth-provider": {"name": "gcp"}}, "gke-gcloud-auth-plugin"),
        ({"auth-provider": {"name": "azure", "config": {"access-token": "t"}}}, "kubelogin"),
        ({"auth-provider": {"name": "oidc", "config": {}}}, "no id-token"),
    ],
)
def test_a_user_that_kubectl_would_refuse_is_refused_at_once(tmp_path, user, words):
    with pytest.raises(PreconditionFailed, match=words):
        one(tmp_path, user=user)


@pytest.mark.parametrize(
    ("cluster", "words"),
    [
        ({"server": ""}, "no server"),
        ({"server": "ftp://x"}, "https://"),
        ({"insecure-skip-tls-verify": True, "certificate-authority": "x"}, "remove one"),
        ({"certificate-authority-data": "?"}, "not base64"),
        ({"proxy-url": "ftp://x"}, "http, https or socks5"),
    ],
)
def test_a_cluster_that_kubectl_would_refuse_is_refused_at_once(tmp_path, cluster, words):
    with pytest.raises(PreconditionFailed, match=words):
        one(tmp_path, cluster=cluster)


def test_an_authority_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ClusterUnreachable, match=r"nowhere\.pem"):
        one(tmp_path, cluster={"certificate-authority": "/nowhere.pem"})


@pytest.mark.parametrize(
    ("cluster", "server"),
    [
        ({"server": "10.0.0.1:8080"}, "http://10.0.0.1:8080"),
        ({"server": "10.0.0.1", "insecure-skip-tls-verify": True}, "https://10.0.0.1"),
    ],
)
def test_a_server_without_a_scheme_is_encrypted_if_anything_speaks_of_tls(tmp_path, cluster, server):
    assert one(tmp_path, cluster=cluster).server == server


def test_no_secret_is_read_for_a_server_without_encryption(tmp_path):
    assert one(tmp_path, cluster={"server": "http://api"}).read_login().user.token == ""


@pytest.fixture
def pod(tmp_path):
    """The files of a pod's service account."""
    directory = tmp_path / "serviceaccount"
    directory.mkdir()
    for name, text in {"token": "t", "ca.crt": "the authority", "namespace": "shop"}.items():
        (directory / name).write_text(text)
    return directory


IN_POD = NOWHERE | {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}


def test_in_a_pod_without_kubeconfig_the_service_account_is_used(pod):
    access = load_access(ClusterChoice(as_user="jane"), IN_POD | {"KUBECONFIG": "/nowhere"}, pod)
    assert (access.context, access.namespace) == ("in-cluster", "shop")
    assert (access.server, access.cluster.authority) == ("https://[fd00::1]:443", b"the authority")
    assert access.read_login().user.token_path == str(pod / "token")
    assert access.impersonation.user == "jane"


def test_in_a_pod_a_namespace_that_was_named_counts(pod):
    environment = IN_POD | {"KUBECONFIG": "/nowhere", "POD_NAMESPACE": "other"}
    assert load_access(ClusterChoice(), environment, pod).namespace == "other"
    assert load_access(ClusterChoice(namespace="here"), environment, pod).namespace == "here"


def test_in_a_pod_a_kubeconfig_or_a_context_that_is_named_outdoes_the_service_account(tmp_path, pod):
    path = config(tmp_path / "one", ("dev", None), current="dev")
    assert load_access(ClusterChoice(), IN_POD | {"KUBECONFIG": path}, pod).context == "dev"
    with pytest.raises(NamedObjectMissing):
        load_access(ClusterChoice(context="dev"), IN_POD | {"KUBECONFIG": "/nowhere"}, pod)
    with pytest.raises(NamedObjectMissing):
        load_access(ClusterChoice("/nowhere"), IN_POD, pod)
