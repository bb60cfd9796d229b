from __future__ import annotations

import socket

import pytest
import trio

from telepresence_py.cluster import client as client_module
from telepresence_py.cluster.calls import PODS, Call
from telepresence_py.cluster.client import open_cluster
from telepresence_py.cluster.connections import Connections
from telepresence_py.cluster.exchange import Exchange, NoAnswer
from telepresence_py.cluster.portforward import port_forward_target
from telepresence_py.model.errors import ClusterUnreachable
from telepresence_py.model.intent import ClusterChoice
from tests.fakes.cluster import fake_cluster, no_plugin, write_kubeconfig
from tests.fakes.terminal import DEADLINE_SECONDS


@pytest.fixture
def cluster(monkeypatch):
    monkeypatch.setattr(client_module, "FIRST_PAUSE_SECONDS", 0.01)
    with fake_cluster() as fake:
        yield fake


def run(tmp_path, url, use):
    async def main():
        with trio.fail_after(20):
            choice = ClusterChoice(write_kubeconfig(tmp_path / "config", url))
            async with open_cluster(choice, no_plugin) as opened:
                return await use(opened)

    return trio.run(main)


def test_broken_connections_are_tried_again(tmp_path, cluster):
    cluster.cut_connections = 2
    answer = run(tmp_path, cluster.url, lambda opened: opened.call(Call("list", PODS)))
    assert answer.status == 200
    assert len(cluster.requests) == 3


def test_a_server_that_is_busy_for_a_moment_is_asked_again(tmp_path, cluster):
    answers = iter([(503, "busy"), (429, "slow down"), None])
    cluster.refuse = lambda method, path, body: next(answers)
    assert run(tmp_path, cluster.url, lambda opened: opened.call(Call("list", PODS))).status == 200


def test_a_refusal_is_not_repeated(tmp_path, cluster):
    cluster.refuse = lambda method, path, body: (401, "Unauthorized")
    with pytest.raises(ClusterUnreachable, match="log in"):
        run(tmp_path, cluster.url, lambda opened: opened.call(Call("list", PODS)))
    assert len(cluster.requests) == 1


def test_a_refusal_that_has_a_known_cause_leaves_no_connection(tmp_path, cluster, monkeypatch):
    def refused(connections, way):
        raise ClusterUnreachable("the token has expired")

    made = []
    request = Exchange._request
    monkeypatch.setattr(Connections, "refused", refused)
    monkeypatch.setattr(Exchange, "_request", lambda *asked: made.append(request(*asked)) or made[-1])
    cluster.refuse = lambda method, path, body: (401, "Unauthorized")
    with pytest.raises(ClusterUnreachable, match="expired"):
        run(tmp_path, cluster.url, lambda opened: opened.call(Call("list", PODS)))
    assert [response.closed for response in made] == [True]


def test_a_status_that_the_caller_expects_is_an_answer(tmp_path, cluster):
    call = Call("get", PODS, "none")
    assert run(tmp_path, cluster.url, lambda opened: opened.call(call, accept={404})).status == 404


def test_a_port_where_nobody_listens_is_an_unreachable_cluster(tmp_path, cluster):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ClusterUnreachable, match=r'context "test" does not answer \(.*refused'):
            run(tmp_path, url, lambda opened: opened.call(Call("list", PODS)))


def test_a_watch_ends_at_once_when_cancelled(tmp_path, cluster):
    async def watch(opened):
        call = Call("watch", PODS, query=(("watch", "1"), ("resourceVersion", "100")))
        with trio.move_on_after(0.2) as patience:
            await opened.follow(call, lambda line: False)
        return patience.cancelled_caught

    assert run(tmp_path, cluster.url, watch)


def test_a_watch_notices_within_ten_seconds_that_its_connection_is_dead(tmp_path, cluster, monkeypatch):
    """As after a change of the laptop's address: nobody tells, so the kernel must ask."""
    opened_sockets = []
    open_lines = Exchange.open_lines

    def noted(*asked):
        lines = open_lines(*asked)
        opened_sockets.append(lines._socket.dup())
        return lines

    monkeypatch.setattr(Exchange, "open_lines", noted)
    cluster.logs["p"] = "one"
    run(tmp_path, cluster.url, lambda opened: opened.follow(Call("get", PODS, "p", "log"), lambda line: True))
    with opened_sockets[0] as connection:
        idle, pause, count = (
            connection.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert idle + pause * count <= 10
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= 10_000
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_watch_that_is_cancelled_before_the_server_answers_leaves_no_connection(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(DEADLINE_SECONDS)

        async def watch(opened):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(opened.follow, Call("watch", PODS), lambda line: False)
                connection, _ = await trio.to_thread.run_sync(server.accept)
                nursery.cancel_scope.cancel()
            return connection

        with run(tmp_path, f"http://127.0.0.1:{server.getsockname()[1]}", watch) as connection:
            connection.settimeout(DEADLINE_SECONDS)
            assert connection.recv(65536).startswith(b"GET ")
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            assert connection.recv(1) == b""


def test_a_watch_that_breaks_says_so(tmp_path, cluster):
    async def watch(opened):
        cluster.cut_connections = 1
        with pytest.raises(NoAnswer):
            await opened.follow(Call("watch", PODS, query=(("watch", "1"),)), lambda line: False)

    run(tmp_path, cluster.url, watch)


def test_following_stops_when_the_reader_has_enough(tmp_path, cluster):
    cluster.logs["p"] = "one\ntwo\nthree"
    seen = []

    def enough(line):
        seen.append(line)
        return line == b"two"

    answer = run(tmp_path, cluster.url, lambda opened: opened.follow(Call("get", PODS, "p", "log"), enough))
    assert answer.status == 200
    assert seen == [b"one", b"two"]


def test_requests_and_the_port_forward_are_made_as_whom_was_asked_for(tmp_path, cluster):
    choice = ClusterChoice(
        write_kubeconfig(tmp_path / "config", cluster.url), as_user="jürgen", as_groups=("a", "b")
    )

    async def main():
        async with open_cluster(choice, no_plugin) as opened:
            await opened.call(Call("list", PODS))
            return port_forward_target(opened, "p", 1)

    expected = [("Impersonate-User", "jürgen"), ("Impersonate-Group", "a"), ("Impersonate-Group", "b")]
    assert list(trio.run(main).headers) == expected
    # the fake reads headers as Latin-1
    heard = [(name, value.encode("latin-1").decode()) for name, value in cluster.headers[-1]]
    assert [header for header in heard if header[0].startswith("Impersonate-")] == expected


def test_the_port_forward_goes_to_the_pods_port(tmp_path, cluster):
    async def target(opened):
        return port_forward_target(opened, "orders-tp-1", 29022)

    found = run(tmp_path, cluster.url, target)
    assert found.url == cluster.url.replace("http", "ws") + (
        "/api/v1/namespaces/shop/pods/orders-tp-1/portforward?ports=29022"
    )
    assert found.headers == ()  # no secrets over http://, as with kubectl
    assert found.proxy is None
