"""Words of the command line, and what they mean."""

from __future__ import annotations

import pytest

from telepresence_py.cli.options import (
    Target,
    check_identity,
    nearest,
    parse_connect,
    parse_duration,
    parse_grace,
    parse_namespace,
    parse_port,
    parse_ports,
    parse_target,
)
from telepresence_py.model.errors import BadUsage
from telepresence_py.model.intent import PortOverride


@pytest.mark.parametrize(
    ("word", "target"),
    [
        ("orders", Target("deployment", "orders")),
        ("deployment/orders", Target("deployment", "orders")),
        ("deploy/orders:app", Target("deployment", "orders", "app")),
        ("orders:app", Target("deployment", "orders", "app")),
        ("Deployments/orders", Target("deployment", "orders")),
        ("deployments.apps/orders", Target("deployment", "orders")),
        ("deployment.v1.apps/orders.v2", Target("deployment", "orders.v2")),
        ("sts/db", Target("statefulset", "db")),
        ("ds/agent", Target("daemonset", "agent")),
        ("rs/orders-5b", Target("replicaset", "orders-5b")),
        ("po/one", Target("pod", "one")),
        ("cj/nightly", Target("cronjob", "nightly")),
        ("rollouts.argoproj.io/orders", Target("rollout", "orders")),
    ],
)
def test_a_target_names_kind_name_and_container(word, target):
    assert parse_target(word) == target


@pytest.mark.parametrize(
    "word", ["", "/orders", "deployment/", "a/b/c", "orders:", "deployment/orders:", "Orders", "-x", "./run"]
)
def test_what_names_no_workload_is_refused(word):
    with pytest.raises(BadUsage, match="does not name a workload"):
        parse_target(word)


@pytest.mark.parametrize(
    ("word", "meant"), [("deploymnt/orders", "deployment"), ("statefulst/db", "statefulset")]
)
def test_a_misspelt_kind_is_answered_with_the_nearest(word, meant):
    with pytest.raises(BadUsage, match=f"did you mean '{meant}'"):
        parse_target(word)


def test_connections_are_truthful_or_fast_and_what_is_misspelt_is_answered_with_the_nearest():
    assert [parse_connect(word) for word in ("truthful", "fast")] == ["truthful", "fast"]
    with pytest.raises(BadUsage, match=r"--connect: .*'truthfull'.* did you mean 'truthful'"):
        parse_connect("truthfull")
    with pytest.raises(BadUsage, match="write truthful or fast"):
        parse_connect("")


def test_the_grace_period_is_a_time_in_which_a_session_can_be_found_and_given_up():
    assert parse_grace("1s") == 1
    assert parse_grace("24h") == 86400
    for word in ("0", "1ms", "24h1s", "1000000000", "9" * 400):
        with pytest.raises(BadUsage, match="--grace"):
            parse_grace(word)


def test_a_namespace_is_a_dns_label():
    assert parse_namespace("team-1") == "team-1"
    for word in ("", "Team", "a/b", "--", "a.b", "a" * 64, "-a", "\udcff"):
        with pytest.raises(BadUsage, match="--namespace"):
            parse_namespace(word)


def test_a_target_prints_as_kind_and_name():
    assert str(parse_target("deploy/orders:app")) == "deployment/orders"


def test_a_port_is_the_laptops_and_then_the_pods():
    assert parse_port("8080") == PortOverride(8080, 8080)
    assert parse_port("8081:80") == PortOverride(laptop_port=8081, pod_port=80)
    assert parse_port("8081:80/tcp") == PortOverride(laptop_port=8081, pod_port=80)


@pytest.mark.parametrize("word", ["5353:53/udp", "5353:53/UDP"])
def test_a_port_of_udp_is_told_by_its_protocol(word):
    assert parse_port(word) == PortOverride(5353, 53, "UDP")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("53/udb", "'udb' is no protocol.*mean 53/udp"),
        ("1:53/sctp", "write 1:53 for TCP or 1:53/udp"),
        ("53/", "write"),
    ],
)
def test_an_unknown_protocol_is_refused_with_what_there_is(word, said):
    with pytest.raises(BadUsage, match=said):
        parse_port(word)


@pytest.mark.parametrize("word", ["", "http", "0", "65536", "80:", ":80", "1:2:3", "-1", "8080:x", "１２"])
def test_what_is_no_port_is_refused(word):
    with pytest.raises(BadUsage, match="-p"):
        parse_port(word)


def test_a_pod_port_may_be_given_twice_only_with_one_meaning():
    assert parse_ports(["8080", "9090:9000", "8080"]) == (PortOverride(8080, 8080), PortOverride(9090, 9000))
    with pytest.raises(BadUsage, match="port 80 of the pod"):
        parse_ports(["8080:80", "8081:80"])
    with pytest.raises(BadUsage, match="port 53/udp of the pod"):
        parse_ports(["5353:53/udp", "5354:53/udp"])
    assert len(parse_ports(["5353:53/udp", "5353:53"])) == 2


@pytest.mark.parametrize(
    ("word", "seconds"),
    [
        ("30s", 30.0),
        ("2m", 120.0),
        ("1h30m", 5400.0),
        ("500ms", 0.5),
        ("1.5m", 90.0),
        ("45", 45.0),
        ("0", 0.0),
    ],
)
def test_durations_are_seconds(word, seconds):
    assert parse_duration(word) == seconds


@pytest.mark.parametrize("word", ["", "s", "30 s", "30x", "-5s", "1m-", "ms30", "m5"])
def test_what_is_no_duration_is_refused(word):
    with pytest.raises(BadUsage, match="not a duration"):
        parse_duration(word)


def test_the_nearest_word_is_found_or_none():
    assert nearest("swpa", ["swap", "list"]) == "swap"
    assert nearest("frobnicate", ["swap", "list"]) is None


def test_whom_to_act_as_is_a_name():
    check_identity(None, ())
    check_identity("jürgen@example.org", ("system:masters", "my team"))


@pytest.mark.parametrize(
    ("user", "groups", "words"),
    [
        ("jane\r\nX: y", (), "--as .*control character"),
        ("", (), "--as .*empty"),
        ("jane", ("a\nb",), "--as-group .*control character"),
        (None, ("dev",), "--as-group dev needs --as"),
    ],
)
def test_what_is_no_identity_is_refused(user, groups, words):
    with pytest.raises(BadUsage, match=words):
        check_identity(user, groups)
