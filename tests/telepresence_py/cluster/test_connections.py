"""Requests over real TLS to a small API server: what is renewed, and what is verified."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from telepresence_py.cluster.calls import PODS, Call
from telepresence_py.cluster.client import Cluster
from telepresence_py.cluster.exchange import Exchange, NoAnswer
from telepresence_py.cluster.kubeconfig import load_access
from telepresence_py.cluster.portforward import port_forward_target
from telepresence_py.model.errors import ClusterUnreachable
from telepresence_py.model.intent import ClusterChoice
from telepresence_py.model.plugin import PluginEnd
from tests.fakes.certificates import new_authority
from tests.fakes.cluster import fake_cluster, no_plugin
from tests.fakes.way_between import connect_proxy, socks_proxy

LIST = Call("list", PODS)
V1 = "client.authentication.k8s.io/v1"


@pytest.fixture(scope="module")
def authority():
    return new_authority()


@pytest.fixture
def cluster(authority, tmp_path):
    with fake_cluster(authority.server(tmp_path, "127.0.0.1", "the-server")) as fake:
        yield fake


def data(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


@contextmanager
def exchange(tmp_path, cluster, authority, user, run_plugin=no_plugin, **changes):
    server = {"server": cluster.url, "certificate-authority-data": data(authority.pem)} | changes
    document = {
        "clusters": [{"name": "c", "cluster": {key: one for key, one in server.items() if one is not None}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}],
        "current-context": "x",
    }
    (tmp_path / "config").write_text(json.dumps(document))
    opened = Exchange(load_access(ClusterChoice(str(tmp_path / "config")), {}), run_plugin)
    try:
        yield opened
    finally:
        opened.close()


def sent(cluster):
    return [dict(headers).get("Authorization") for headers in cluster.headers]


def names(cluster):
    return [dict(sum(one["subject"], ()))["commonName"] for one in cluster.client_certificates if one]


def test_a_refused_token_is_looked_for_anew_and_the_request_sent_again(tmp_path, cluster, authority):
    path = tmp_path / "token"
    path.write_text("old")
    cluster.refuse = lambda method, url, body: (401, "expired") if sent(cluster)[-1] == "Bearer old" else None
    with exchange(tmp_path, cluster, authority, {"tokenFile": "token"}) as opened:
        assert opened.send(LIST, "shop").status == 401
        path.write_text("new")
        assert opened.send(LIST, "shop").status == 200
        lines = opened.open_lines(Call("get", PODS, "p", "log"), "shop")
        assert lines.status == 200
        lines.close()
    assert sent(cluster) == ["Bearer old", "Bearer old", "Bearer new", "Bearer new"]


def test_a_port_forward_is_dialled_with_what_is_good_now(tmp_path, cluster, authority):
    path = tmp_path / "token"
    path.write_text("old")
    proxy = {"tls-server-name": "the-server", "proxy-url": "socks5://me:p@proxy"}
    with exchange(tmp_path, cluster, authority, {"tokenFile": "token", "as": "jane"}, **proxy) as opened:
        world = Cluster(opened.connections.access, opened)
        target = port_forward_target(world, "p", 1)
        assert target.headers == (("Authorization", "Bearer old"), ("Impersonate-User", "jane"))
        assert (target.server_name, target.proxy) == ("the-server", "socks5://me:p@proxy:1080")
        assert target.tls is opened.connections.way().tls
        path.write_text("new")
        assert target.refused()
        assert port_forward_target(world, "p", 1).headers[0] == ("Authorization", "Bearer new")
        assert "old" not in repr(target)
        assert "p@proxy" not in repr(target)


@pytest.mark.parametrize("kind", ["", "http", "https", "socks5"])
def test_a_silent_watch_ends_at_once_also_through_a_proxy(tmp_path, cluster, authority, kind):
    port = urlsplit(cluster.url).port
    where = ("127.0.0.1", port)
    tls = authority.server(tmp_path, "127.0.0.1") if kind == "https" else None
    between = socks_proxy(where) if kind == "socks5" else connect_proxy(where, tls)
    with between as proxy:
        url = {"proxy-url": f"{kind}://me:pass%3Aw%40rd@127.0.0.1:{proxy.port}"} if kind else {}
        with exchange(tmp_path, cluster, authority, {}, **url) as opened:
            assert opened.send(LIST, "shop").status == 200
            query = (("watch", "1"), ("resourceVersion", "100"))
            lines = opened.open_lines(Call("watch", PODS, query=query), "shop")
            reading = threading.Thread(target=lambda: list(lines), daemon=True)
            reading.start()
            closing = threading.Thread(target=lines.close, daemon=True)
            closing.start()
            for thread in (closing, reading):
                thread.join(10)
                assert not thread.is_alive()
        assert set(proxy.wanted) == ({f"127.0.0.1:{port}"} if kind else set())


def test_another_certificate_takes_new_connections(tmp_path, cluster, authority):
    holders = iter([authority.certify("first"), authority.certify("second")])

    def run_plugin(call):
        certificate, key = next(holders)
        status = {"clientCertificateData": certificate.decode(), "clientKeyData": key.decode()}
        answer = {"apiVersion": V1, "kind": "ExecCredential", "status": status}
        return PluginEnd(
            0, json.dumps(answer | {"status": status | {"expirationTimestamp": "2020-01-01T00:00:00Z"}})
        )

    entry = {"exec": {"command": "x", "apiVersion": V1, "interactiveMode": "Never"}}
    with exchange(tmp_path, cluster, authority, entry, run_plugin) as opened:
        assert opened.send(LIST, "shop").status == 200
        assert opened.send(LIST, "shop").status == 200
    assert names(cluster) == ["first", "second"]


def test_a_certificate_whose_key_is_still_the_old_one_waits(tmp_path, cluster, authority):
    (certificate, key), (other_certificate, other_key) = (
        authority.certify("first"),
        authority.certify("second"),
    )
    (tmp_path / "c").write_bytes(certificate)
    (tmp_path / "k").write_bytes(key)
    user = {"client-certificate": "c", "client-key": "k"}
    with exchange(tmp_path, cluster, authority, user) as opened:
        assert opened.send(LIST, "shop").status == 200
        (tmp_path / "c").write_bytes(other_certificate)
        assert opened.send(LIST, "shop").status == 200
        (tmp_path / "k").write_bytes(other_key)
        assert opened.send(LIST, "shop").status == 200
    assert names(cluster) == ["first", "first", "second"]


def test_one_connection_serves_all_requests_as_long_as_the_certificate_is_the_same(
    tmp_path, cluster, authority, monkeypatch
):
    path = tmp_path / "token"
    path.write_text("one")
    user = dict(
        zip(("client-certificate-data", "client-key-data"), map(data, authority.certify("me")), strict=True)
    )
    with exchange(tmp_path, cluster, authority, user | {"tokenFile": "token"}) as opened:
        first = opened.connections.way()
        assert opened.send(LIST, "shop").status == 200
        path.write_text("two")
        assert opened.connections.refused(first)
        second = opened.connections.way()
        assert second.pool is first.pool
        assert (first.headers, second.headers) != (second.headers, first.headers)
        assert opened.send(LIST, "shop").status == 200
    assert sent(cluster) == ["Bearer one", "Bearer two"]


def test_a_name_other_than_the_servers_is_verified_where_the_kubeconfig_says_so(tmp_path, cluster, authority):
    for name, works in (("the-server", True), ("another", False)):
        with exchange(tmp_path, cluster, authority, {}, **{"tls-server-name": name}) as opened:
            if works:
                assert opened.send(LIST, "shop").status == 200
            else:
                with pytest.raises(NoAnswer, match=r"not trusted.*another"):
                    opened.send(LIST, "shop")


def test_an_authority_that_did_not_certify_the_server_is_told_unless_nothing_is_to_be_verified(
    tmp_path, cluster, authority
):
    wrong = {"certificate-authority-data": data(new_authority().pem)}
    with (
        exchange(tmp_path, cluster, authority, {}, **wrong) as opened,
        pytest.raises(NoAnswer, match="not trusted"),
    ):
        opened.send(LIST, "shop")
    insecure = {"certificate-authority-data": None, "insecure-skip-tls-verify": True}
    with exchange(tmp_path, cluster, authority, {}, **insecure) as opened:
        assert opened.send(LIST, "shop").status == 200


@pytest.mark.parametrize("kind", ["another's key", "no PEM", "encrypted"])
def test_a_certificate_that_cannot_be_used_is_told_and_nobody_is_asked_for_a_password(
    tmp_path, cluster, authority, kind
):
    certificate, key = authority.certify("me")
    if kind == "another's key":
        key = authority.certify("other")[1]
    elif kind == "no PEM":
        key = b"no PEM"
    else:
        key = ENCRYPTED
    user = {"client-certificate-data": data(certificate), "client-key-data": data(key)}
    with exchange(tmp_path, cluster, authority, user) as opened:
        with pytest.raises(ClusterUnreachable, match="belong together") as caught:
            opened.connections.way()
    assert "\n" not in str(caught.value)


def test_an_authority_that_is_no_pem_is_told(tmp_path, cluster, authority):
    with exchange(
        tmp_path, cluster, authority, {}, **{"certificate-authority-data": data("no PEM")}
    ) as opened:
        with pytest.raises(ClusterUnreachable, match='authority of the cluster "c"'):
            opened.connections.way()


def test_certificates_of_older_clusters_are_good_enough(tmp_path, cluster, authority):
    with exchange(tmp_path, cluster, authority, {}) as opened:
        tls = opened.connections.way().tls
    assert tls.verify_mode is ssl.CERT_REQUIRED
    assert not tls.verify_flags & ssl.VERIFY_X509_STRICT


def _encrypted():
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"pass"))


ENCRYPTED = _encrypted()
