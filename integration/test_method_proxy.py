"""`--method proxy`: what it promises without any namespace, and what it says that it does not."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from integration.probe.beside import free_port, shell_beside
from integration.probe.shell_child import ShellChild
from integration.probe.town import SERVICE_ACCOUNT, SINGLE_FILE
from integration.support.namespaces import Namespace
from integration.support.product import Product

WITHOUT_HTTP = "env -u HTTP_PROXY -u http_proxy"
"""curl then takes ALL_PROXY."""
URLLIB = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=20).read().decode())"
REQUESTS = "import sys, requests; print(requests.get(sys.argv[1], timeout=20).text)"
NO_HOST = 5, 6, 7, 97
"""Exit codes of curl: no such proxy or host, connection or SOCKS refused."""


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def child(town: Namespace, townsman: Product, port: int) -> Iterator[ShellChild]:
    with shell_beside(town, townsman, "proxied", "proxy", port) as child:
        yield child


def test_what_it_cannot_do_is_said_before_anything_is_touched(child: ShellChild) -> None:
    said = child.swap.running.err
    told, _, after = said.partition("Connected to ")
    for limit in ("UDP and DNS", "/etc/resolv.conf", "TELEPRESENCE_ROOT", "runs on"):
        assert limit in told
        assert limit not in after
    assert "isolated by proxy variables alone (--method proxy)" in after


@pytest.mark.parametrize("way", ["", WITHOUT_HTTP])
def test_curl_reaches_the_cluster_by_name_over_http_and_socks(child: ShellChild, way: str) -> None:
    said, code = child.run(f"{way} curl -sS http://peer/by-curl")
    assert code == 0, said
    answer = json.loads(said)
    assert (answer["who"], answer["path"]) == ("peer", "/by-curl")


@pytest.mark.parametrize("program", [URLLIB, REQUESTS])
def test_clients_of_python_reach_the_cluster_by_name(
    child: ShellChild, townsman: Product, program: str
) -> None:
    said, code = child.run(f"{townsman.python} -c '{program}' http://peer/by-python")
    assert code == 0, said
    assert json.loads(said)["path"] == "/by-python"


def test_the_api_server_is_reached_by_tls_with_the_pods_own_certificate_and_token(child: ShellChild) -> None:
    account = f'"$TELEPRESENCE_ROOT"{SERVICE_ACCOUNT}'
    header = f'-H "Authorization: Bearer $(cat {account}/token)"'
    url = "https://kubernetes.default.svc/api/v1/namespaces/default/pods"
    said, code = child.run(f"curl -sS --cacert {account}/ca.crt {header} {url}")
    assert code == 0, said
    assert "system:serviceaccount:" in json.loads(said)["message"], "forbidden, as whom the pod is"


def test_a_name_that_the_pod_does_not_know_and_a_closed_port_are_refused(child: ShellChild) -> None:
    for url in ("http://no-such-service:80/", "http://peers:9/"):
        said, code = child.run(f"{WITHOUT_HTTP} curl -sS {url}")
        assert code in NO_HOST, said
        said, code = child.run(f"curl -sS -o /dev/null -w '%{{http_code}}' {url}")
        assert (said, code) == ("502", 0)


def test_without_the_sessions_secret_the_proxy_refuses(child: ShellChild) -> None:
    said, code = child.run(
        'curl -sS -o /dev/null -w "%{http_code}" -x "http://127.0.0.1:${HTTP_PROXY##*:}" http://peer/'
    )
    assert (said, code) == ("407", 0)


def test_variables_are_the_pods_and_small_volumes_are_below_a_directory_of_their_own(
    child: ShellChild,
) -> None:
    said, code = child.run('echo "$PLAIN"; cat "$TELEPRESENCE_ROOT"/etc/target/config/colour; echo "$POD_IP"')
    assert code == 0, said
    plain, colour, address = said.splitlines()
    assert (plain, colour) == ("a value", "green")
    assert address
    said, code = child.run(f'cat "$TELEPRESENCE_ROOT"{SINGLE_FILE}; stat -c %a "$TELEPRESENCE_ROOT"')
    assert (said.splitlines(), code) == (["green", "700"], 0)


def test_a_request_to_the_service_is_answered_by_the_child(
    child: ShellChild, town: Namespace, townsman: Product, port: int
) -> None:
    probe = townsman.source("integration/probe/probe.py")
    _, code = child.run(f"PROBE_WHO=laptop {townsman.python} {probe} serve http:{port} & echo $! >pid")
    assert code == 0
    try:
        answer = json.loads(town.ask("http://proxied/hello", seconds=30))
        assert (answer["who"], answer["path"], answer["peer"]) == ("laptop", "/hello", "::1")
        said, code = child.run(f"curl -sS http://localhost:{port}/from-laptop")
        assert (json.loads(said)["path"], code) == ("/from-laptop", 0)
    finally:
        child.run("kill -9 $(cat pid); rm pid")


def test_it_works_where_user_namespaces_are_refused(townsman: Product) -> None:
    """A user namespace in which no further ones may be made stands for a kernel that refuses them."""
    words = "telepresence-py run --method proxy -- curl -sS http://peer/"
    refusing = f"echo 0 >/proc/sys/user/max_user_namespaces && exec {words}"
    ended = townsman.start_command(["unshare", "--user", "--map-root-user", "sh", "-c", refusing]).finish()
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["who"] == "peer"
