"""Connections end as direct ones do, both ways: each half by itself, by a reset, with bytes under way."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator

import pytest

from integration.probe.asking import HERE
from integration.probe.ending import ENDINGS
from integration.probe.manifests import Workload
from integration.probe.shell_child import ShellChild, shell_child
from integration.probe.town import settle
from integration.support.namespaces import Namespace
from integration.support.product import Product

ENDING = HERE / "ending.py"
PORT = 8080
Endings = dict[str, list[str]]


@pytest.fixture(scope="module")
def place(town: Namespace) -> Namespace:
    """`ending`, to be swapped, and `ended`, whom its child talks to: both serve the same."""
    command = ["python3", "-c", ENDING.read_text(), "serve", str(PORT)]
    ready = {"tcpSocket": {"port": PORT}, "periodSeconds": 1}
    container = {"command": command, "readinessProbe": ready}
    found = [Workload(name, container=container, listen=()) for name in ("ending", "ended")]
    settle(town, *(each for workload in found for each in workload.objects()))
    return town


@pytest.fixture(scope="module")
def between_pods(place: Namespace) -> Endings:
    """Customers and the original of `ending`, before it is swapped."""
    return tried_by_customers(place)


def tried_by_customers(place: Namespace) -> Endings:
    told: Endings = json.loads(place.python_in_pod("customers", ENDING.read_text(), "try", "ending", "80"))
    return told


@pytest.fixture(scope="module")
def child(townsman: Product, between_pods: Endings) -> Iterator[ShellChild]:
    """A shell in whose session the same program serves."""
    program = f"{townsman.python} {townsman.source('integration/probe/ending.py')}"
    with shell_child(townsman, "deployment/ending") as shell:
        listening = "said=$(mktemp -d)/said; mkfifo $said; {} >$said & read line <$said; echo $line"
        said, code = shell.run(listening.format(f"{program} serve {PORT}"))
        assert (said, code) == ("listening", 0)
        yield shell


def test_between_pods_both_ends_see_what_they_did(between_pods: Endings) -> None:
    """That the comparison is with connections that ended in each of the ways."""
    assert list(between_pods) == list(ENDINGS)
    for reset in (
        "the client resets",
        "the client resets after a word",
        "the client closes with a word unread",
    ):
        assert between_pods[reset][1] == "ECONNRESET", reset
    for reset in (
        "the server resets",
        "the server resets after a word",
        "the server closes with a word unread",
    ):
        assert between_pods[reset][0] == "ECONNRESET", reset
    assert between_pods["the client lingers with much"][1] == "3000000 bytes, then the end"


def test_what_the_child_connects_to_ends_as_between_pods(
    child: ShellChild, townsman: Product, between_pods: Endings
) -> None:
    program = townsman.source("integration/probe/ending.py")
    said, code = child.run(shlex.join([townsman.python, program, "try", "ended", "80"]), 90)
    assert code == 0, said
    assert json.loads(said) == between_pods


def test_what_the_child_serves_ends_as_between_pods(
    child: ShellChild, place: Namespace, between_pods: Endings
) -> None:
    assert tried_by_customers(place) == between_pods
