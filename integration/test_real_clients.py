"""Clients and servers that others wrote talk through a session as in the pod."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator

import pytest

from integration.probe.manifests import Workload, probe_config_map
from integration.probe.servers import (
    GIT,
    GRPC,
    HTTP,
    HTTP2,
    HTTPS,
    LARGE,
    NAME,
    POSTGRES,
    REDIS,
    WEBSOCKET,
    servers,
)
from integration.probe.shell_child import ShellChild, shell_child
from integration.probe.town import settle
from integration.support.aftermath import sidecar_pods
from integration.support.namespaces import Namespace
from integration.support.product import Product
from integration.support.programs import Need
from integration.support.waiting import wait_until

pytestmark = pytest.mark.own_cluster

CLOSED, SILENT = 9, "192.0.2.1"
"""A port on which nobody listens; an address (RFC 5737) from which nothing ever comes."""
GRPC_SAID = {"once": "cba", "streamed": 2_000_000, "refused": "PERMISSION_DENIED"}
WEBSOCKET_SAID = {"text": "said", "bytes": 500_000, "closed": 1000}
SOON = 8.0
"""Seconds. A client that takes a dead address for a living one waits longer."""
LISTENS = "wait-for-it -q -t 20 localhost:8080"
PSQL = "psql -XAtq"
APPLICATION = """
import os
def app(environ, start):
    start("200 OK", [])
    return [b"worker %d" % os.getpid()]
"""


@pytest.fixture(scope="module")
def place(town: Namespace, need: Need) -> Namespace:
    """The servers, and `clients`, to be swapped; for its pod the name `either` has two addresses, of which
    the first is silent."""
    for each in ("servers", "clients", "grpc and httpx", "web"):
        need(each)
    config, front, deployment = servers()
    town.apply(front)
    address = town.get("service", NAME)["spec"]["clusterIP"]
    aliases = [{"ip": ip, "hostnames": ["either"]} for ip in (SILENT, address)]
    settle(
        town,
        probe_config_map(),
        config,
        deployment,
        *Workload("clients", pod={"hostAliases": aliases}).objects(),
    )
    return town


@pytest.fixture(scope="module")
def child(townsman: Product, place: Namespace) -> Iterator[ShellChild]:
    with shell_child(townsman, "deployment/clients") as shell:
        shell.run("cd $(mktemp -d)")
        yield shell


@pytest.fixture(scope="module")
def pod_addresses(child: ShellChild, place: Namespace) -> list[str]:
    return [str(each["ip"]) for each in sidecar_pods(place, "clients")[0]["status"]["podIPs"]]


@pytest.fixture(scope="module")
def pod_address(pod_addresses: list[str]) -> str:
    """nginx listens over IPv4 alone, and Java prefers it."""
    return next(each for each in pod_addresses if ":" not in each)


def said(child: ShellChild, line: str, seconds: float = 60.0) -> str:
    text, code = child.run(line, seconds)
    assert code == 0, text
    return text


def soon(child: ShellChild, line: str) -> str:
    """By a client that met a dead address first."""
    began = time.monotonic()
    text = said(child, line)
    assert time.monotonic() - began < SOON
    return text


def real(townsman: Product, name: str) -> str:
    return townsman.source(f"integration/probe/real/{name}")


def test_psql_is_the_pod_to_the_database(child: ShellChild, pod_addresses: list[str]) -> None:
    query = "select host(inet_client_addr()), length(repeat('x', 1000000))"
    address, _, length = said(child, f'{PSQL} -h {NAME} -U tester postgres -c "{query}"').partition("|")
    assert (address in pod_addresses, length) == (True, "1000000"), address


def test_psql_copies_in_and_out(child: ShellChild) -> None:
    psql = f"{PSQL} -h {NAME} -U tester postgres -c"
    said(child, f"seq 100000 >numbers; {psql} 'create table numbers (n int)'")
    said(
        child, f"{psql} 'copy numbers from stdin' <numbers && {psql} 'copy numbers to stdout' | cmp - numbers"
    )


def test_libpq_goes_on_to_the_next_host_of_its_list(child: ShellChild) -> None:
    """The first refuses, the second says nothing, the third is there."""
    hosts = f"host={NAME},{SILENT},{NAME} port={CLOSED},{POSTGRES},{POSTGRES} connect_timeout=2"
    assert soon(child, f"{PSQL} '{hosts} user=tester dbname=postgres' -c 'select 42'") == "42"


def test_jdbc_goes_on_to_the_next_host_of_its_list(
    child: ShellChild, townsman: Product, pod_address: str, need: Need
) -> None:
    for each in ("java", "jdbc"):
        need(each)
    url = f"jdbc:postgresql://{NAME}:{CLOSED},{NAME}:{POSTGRES}/postgres?user=tester"
    line = f"java -cp /usr/share/java/postgresql.jar {real(townsman, 'Jdbc.java')} '{url}'"
    assert said(child, line) == f"{pod_address} 1000000"


def test_redis_cli_by_commands_pipeline_and_subscription(child: ShellChild) -> None:
    redis = f"redis-cli -h {NAME} -p {REDIS}"
    assert said(child, f"{redis} set colour green; {redis} get colour") == "OK\ngreen"
    piped = said(child, f"seq 10000 | sed 's/.*/SET key& &/' | {redis} --pipe")
    assert "errors: 0, replies: 10000" in piped
    said(child, f"{redis} subscribe news >heard & echo $! >subscriber.pid")
    said(child, f'until [ "$({redis} publish news hello)" = 1 ]; do sleep 0.05; done')
    said(child, "until grep -q hello heard; do sleep 0.05; done; kill $(cat subscriber.pid)")


@pytest.mark.parametrize(
    ("options", "port", "protocol"),
    [
        ("--http1.1 http", HTTP, "HTTP/1.1"),
        ("--http2-prior-knowledge http", HTTP2, "HTTP/2.0"),
        ("-k --http2 https", HTTPS, "HTTP/2.0"),
        ("-k --http1.1 https", HTTPS, "HTTP/1.1"),
    ],
)
def test_curl_speaks_every_http_to_nginx(
    child: ShellChild, pod_address: str, options: str, port: int, protocol: str
) -> None:
    url = f"{options}://{NAME}:{port}"
    assert said(child, f"curl -sS {url}/") == f"{protocol} from {pod_address}"
    assert said(child, f"curl -sS {url}/large | wc -c") == str(LARGE)


def test_curl_goes_on_to_the_address_that_answers(child: ShellChild, pod_address: str) -> None:
    assert (
        soon(child, f"curl -sS --connect-timeout 4 http://either:{HTTP}/") == f"HTTP/1.1 from {pod_address}"
    )


def test_httpx_keeps_its_connection_and_asyncio_has_happy_eyes(
    child: ShellChild, townsman: Product, pod_address: str
) -> None:
    line = f"/usr/bin/python3 {real(townsman, 'fetching.py')} http://{NAME}:{HTTP}/ either {HTTP}"
    expected = [f"HTTP/1.{minor} from {pod_address}" for minor in (1, 1, 0)]
    assert soon(child, line).splitlines() == expected


def test_fetch_of_node(child: ShellChild, need: Need, pod_address: str) -> None:
    need("node")
    program = f"fetch('http://{NAME}:{HTTP}/').then(a => a.text()).then(t => console.log(t.trim()))"
    assert said(child, f'node -e "{program}"') == f"HTTP/1.1 from {pod_address}"


def test_a_grpc_client_calls_streams_and_is_refused(child: ShellChild, townsman: Product) -> None:
    line = f"/usr/bin/python3 {real(townsman, 'echo_grpc.py')} call {NAME} {GRPC}"
    assert json.loads(said(child, line)) == GRPC_SAID


def test_git_clones_and_pushes(child: ShellChild) -> None:
    url = f"git://{NAME}:{GIT}/repository"
    who = "-c user.name=tester -c user.email=tester@example"
    said(child, f"git clone -q {url} work && head -c 1000000 /dev/urandom >work/file && git -C work add file")
    said(child, f"git -C work {who} commit -qm one && git -C work push -q origin HEAD:main")
    said(child, f"git clone -q -b main {url} again && cmp work/file again/file")


def test_sqlite_locks_and_writes_its_files(child: ShellChild) -> None:
    write = "pragma journal_mode=wal; create table t (n); insert into t values (42); select n from t"
    assert said(child, f"sqlite3 some.db '{write}'") == "wal\n42"


def test_what_asks_whether_a_port_is_open_is_told_the_truth(child: ShellChild) -> None:
    said(child, f"nc -z -w 5 {NAME} {POSTGRES}")
    assert child.run(f"nc -z -w 5 {NAME} {CLOSED}")[1] == 1
    said(child, f"wait-for-it -q -t 10 {NAME}:{REDIS}")
    assert child.run(f"wait-for-it -q -t 1 {NAME}:{CLOSED}")[1] == 124


def test_nginx_as_the_command_is_asked_by_the_cluster(child: ShellChild, place: Namespace) -> None:
    temporary = " ".join(
        f"{name}_temp_path {name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    server = f"access_log off; {temporary} server {{ listen 8080; return 200 here; }}"
    settings = f"daemon off; pid nginx.pid; error_log stderr; events {{ }} http {{ {server} }}"
    said(child, f"echo '{settings}' >nginx.conf; nginx -p $PWD -e stderr -c $PWD/nginx.conf & {LISTENS}")
    try:
        assert place.ask("http://clients/") == "here"
    finally:
        said(child, "kill $(cat nginx.pid) && wait")


def test_a_grpc_server_as_the_command_is_called_by_the_cluster(
    child: ShellChild, townsman: Product, place: Namespace
) -> None:
    server = f"/usr/bin/python3 {real(townsman, 'echo_grpc.py')} serve 8080"
    said(child, f"{server} & echo $! >server.pid; {LISTENS}")
    try:
        call = ("/usr/bin/python3", "/servers/echo_grpc.py", "call", "clients", "80")
        told = place.kubectl("exec", f"deployment/{NAME}", "-c", "grpc", "--", *call)
        assert json.loads(told) == GRPC_SAID
    finally:
        child.run("kill $(cat server.pid); wait")


def test_a_websocket_is_opened_to_the_cluster(child: ShellChild, townsman: Product) -> None:
    line = f"/usr/bin/python3 {real(townsman, 'echo_websocket.py')} call {NAME} {WEBSOCKET}"
    assert json.loads(said(child, line)) == WEBSOCKET_SAID


def test_a_websocket_is_opened_from_the_cluster(
    child: ShellChild, townsman: Product, place: Namespace
) -> None:
    server = f"/usr/bin/python3 {real(townsman, 'echo_websocket.py')} serve 8080"
    said(child, f"{server} & echo $! >server.pid; {LISTENS}")
    try:
        call = ("/usr/bin/python3", "/servers/echo_websocket.py", "call", "clients", "80")
        told = place.kubectl("exec", f"deployment/{NAME}", "-c", "websocket", "--", *call)
        assert json.loads(told) == WEBSOCKET_SAID
    finally:
        child.run("kill $(cat server.pid); wait")


def test_workers_that_share_a_socket_are_renewed_without_a_failed_request(
    child: ShellChild, place: Namespace
) -> None:
    """As gunicorn does at SIGHUP: new ones, then the old ones go."""
    said(child, f"echo {shlex.quote(APPLICATION)} >application.py")
    said(child, f"gunicorn -w 2 -b :8080 -p server.pid application:app & {LISTENS}")
    try:
        wait_until(lambda: len(workers(child)) == 2, 30, "both have started")
        old = workers(child)
        with place.load("http://clients/") as tally:
            assert place.ask("http://clients/") in old
            said(child, "kill -HUP $(cat server.pid)")
            wait_until(lambda: not workers(child) & old, 60, "the old workers are gone")
            answer = place.ask("http://clients/")
        assert tally.failures == []
        assert answer not in old
        assert tally.answers
    finally:
        child.run("kill $(cat server.pid); wait")


def workers(child: ShellChild) -> set[str]:
    return {f"worker {pid}" for pid in child.run("pgrep -P $(cat server.pid)")[0].split()}


def test_a_socket_that_a_supervisor_hands_on_loses_nobody_between_two_workers(
    child: ShellChild, townsman: Product, place: Namespace
) -> None:
    said(child, f"echo {shlex.quote(APPLICATION)} >application.py")
    worker = "gunicorn -w 1 -p server.pid application:app"
    supervisor = f"/usr/bin/python3 {real(townsman, 'handing_on.py')} 8080 {worker}"
    said(child, f"rm -f server.pid; {supervisor} & echo $! >supervisor.pid; {LISTENS}")
    try:
        with place.load("http://clients/") as tally:
            first = place.ask("http://clients/")
            said(child, "kill $(cat server.pid)")
            wait_until(lambda: place.ask("http://clients/") != first, 60, "another worker answers")
        assert tally.failures == []
        assert tally.answers
    finally:
        child.run("kill $(cat supervisor.pid); wait")
