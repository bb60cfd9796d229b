"""connect() tells the truth: what the child is told is what the pod is told, in every way of connecting."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from integration.probe.asking import HERE
from integration.probe.manifests import BASE_IMAGE, Workload, service
from integration.probe.shell_child import ShellChild, shell_child
from integration.probe.town import settle
from integration.support.namespaces import Namespace
from integration.support.product import Product

CONNECTING, WALLING = HERE / "connecting.py", HERE / "walling.py"
CLOSED, ECHO = 9, 7000
SILENCE = "192.0.2.1"
"""An address for documentation (RFC 5737), as are those behind the walls."""

NO_HOST, NO_NETWORK = ("198.51.100.1", "2001:db8:1::1"), ("203.0.113.1", "2001:db8:2::1")
"""Where walling.py has put up a wall."""


@pytest.fixture(scope="module")
def echo_pod(town: Namespace) -> list[str]:
    """The addresses of a pod with an echo, each family of the cluster; it has room for a crowd."""
    command = ["python3", "-c", CONNECTING.read_text(), "serve", str(ECHO)]
    listens = {"tcpSocket": {"port": ECHO}, "periodSeconds": 1}
    container = {"command": command, "readinessProbe": listens}
    settle(town, *Workload("echo", container=container, service=False).objects())
    return [one["ip"] for one in town.pods("app=echo")[0]["status"]["podIPs"]]


@pytest.fixture(scope="module")
def nobody_there(town: Namespace) -> str:
    """The address of a Service without pods."""
    town.apply(service("podless", 80, 8080))
    return str(town.get("service", "podless")["spec"]["clusterIP"])


@pytest.fixture(scope="module")
def ends(echo_pod: list[str], nobody_there: str) -> list[str]:
    """ADDRESS PORT ...: open, closed, nobody behind, dropped on the way, no way at all."""
    found: list[object] = [SILENCE, 80, nobody_there, 80]
    for address in echo_pod:
        found += [address, ECHO, address, CLOSED]
        for walled in (NO_HOST, NO_NETWORK):
            found += [walled[":" in address], 80]
    return [str(each) for each in found]


@pytest.fixture(scope="module")
def in_pod(town: Namespace, ends: list[str]) -> dict[str, list[str]]:
    """What the original of `walled` is told."""
    root = {"runAsUser": 0, "runAsNonRoot": False, "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}}
    walling = {
        "name": "walling",
        "image": BASE_IMAGE,
        "command": ["python3", "-c", WALLING.read_text()],
        "securityContext": root,
    }
    settle(town, *Workload("walled", pod={"initContainers": [walling]}).objects())
    said = town.python_in_pod("deployment/walled", CONNECTING.read_text(), "each", *ends)
    told: dict[str, list[str]] = json.loads(said)
    return told


@pytest.fixture(scope="module")
def child(townsman: Product, in_pod: dict[str, list[str]]) -> Iterator[ShellChild]:
    with shell_child(townsman, "deployment/walled") as shell:
        yield shell


def connecting(child: ShellChild, product: Product, *words: object) -> Any:
    """What connecting.py prints inside."""
    program = product.source("integration/probe/connecting.py")
    said, code = child.run(shlex.join([product.python, program, *map(str, words)]), seconds=90)
    assert code == 0, said
    return json.loads(said)


def test_the_child_is_told_what_the_pod_is_told(
    townsman: Product, child: ShellChild, ends: list[str], in_pod: dict[str, list[str]], echo_pod: list[str]
) -> None:
    assert connecting(child, townsman, "each", *ends) == in_pod
    assert in_pod[f"{SILENCE} 80"] == ["ETIMEDOUT"] * 2
    for address in echo_pod:
        assert in_pod[f"{address} {ECHO}"] == ["accepted"] * 2
        assert in_pod[f"{address} {CLOSED}"] == ["ECONNREFUSED"] * 2
        assert in_pod[f"{NO_HOST[':' in address]} 80"] == ["EHOSTUNREACH"] * 2
        assert in_pod[f"{NO_NETWORK[':' in address]} 80"] == ["ENETUNREACH"] * 2


def test_a_port_of_localhost_that_nobody_has_is_refused(townsman: Product, child: ShellChild) -> None:
    said = connecting(child, townsman, "each", "127.0.0.1", CLOSED, "::1", CLOSED)
    assert said == {"127.0.0.1 9": ["ECONNREFUSED"] * 2, "::1 9": ["ECONNREFUSED"] * 2}


@pytest.mark.parametrize(("port", "said"), [(ECHO, "accepted"), (CLOSED, "ECONNREFUSED")])
def test_500_at_once_are_each_told_the_truth(
    townsman: Product, child: ShellChild, echo_pod: list[str], port: int, said: str
) -> None:
    for address in echo_pod:
        assert connecting(child, townsman, "crowd", 500, address, port) == {said: 500}


def test_a_script_that_waits_for_a_port_sees_when_it_is_open(child: ShellChild) -> None:
    """As `nc -z` and wait-for-it do: connect, send nothing, look at the exit code."""
    assert child.run("bash -c ': </dev/tcp/peers/7000'") == ("", 0)
    said, code = child.run("bash -c ': </dev/tcp/peers/9'")
    assert code == 1
    assert "Connection refused" in said


def test_a_list_of_hosts_is_tried_until_one_answers(child: ShellChild, nobody_there: str) -> None:
    """As JDBC, libpq and happy eyeballs do."""
    said, code = child.run(f"curl -sS --connect-to ::{nobody_there}:80 http://peer/ || curl -sS http://peer/")
    assert code == 0
    assert "refused" in said.lower() or "connect" in said.lower()
    assert '"who": "peer"' in said


def test_a_fast_connect_succeeds_at_once_and_the_refusal_follows(
    townsman: Product, echo_pod: list[str]
) -> None:
    program = townsman.source("integration/probe/connecting.py")
    words = [word for address in echo_pod for word in (address, str(CLOSED), address, str(ECHO))]
    ended = townsman.run("run", "--connect", "fast", "--", townsman.python, program, "each", *words)
    assert ended.code == 0, ended.err
    said = json.loads(ended.out)
    for address in echo_pod:
        assert said[f"{address} {ECHO}"] == ["accepted"] * 2
        for told in said[f"{address} {CLOSED}"]:
            assert told in ("accepted, then ECONNRESET", "accepted, then EPIPE", "ECONNRESET")
