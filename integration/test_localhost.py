"""`localhost` both ways: the laptop's and the command's, the pod's and the command's."""

from __future__ import annotations

import contextlib
import json
import random
import re
import socket
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from integration.probe.asking import ProbeError
from integration.probe.manifests import Workload, probe_config_map
from integration.probe.swapping import Swap, python_probe, swapped
from integration.probe.town import settle
from integration.support.aftermath import assert_restored, remember, sidecar_pods
from integration.support.namespaces import Namespace
from integration.support.product import Product
from integration.support.waiting import wait_until

HELPER_PORT = 9101
"""The helper listens there, on the pod's loopback alone, and declares nothing."""
FROM_POD = 9102
"""The helper calls there."""
CALL = """\
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())
"""
SOON_SECONDS = 10.0


def free_ports(count: int) -> list[int]:
    """Ports of this machine's loopback that nobody has, below those that the kernel gives away."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(20000, 32000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
    return list(dict.fromkeys(found)) if len(set(found)) == count else free_ports(count)


@pytest.fixture(scope="module")
def laptop_port() -> int:
    return free_ports(1)[0]


@pytest.fixture(scope="module")
def both(town: Namespace, townsman: Product, laptop_port: int) -> Iterator[Swap]:
    """`both`: the command beside a helper, with one option of each kind."""
    helper = Workload("helper", listen=(f"echo:{HELPER_PORT}@127.0.0.1",), ports=(), who="helper")
    sibling = helper.main_container() | {"name": "helper"}
    settle(town, probe_config_map(), Workload("both", siblings=(sibling,), service=False).deployment())
    before = remember(town, "both")
    ways = ("--pod-localhost", str(HELPER_PORT), "--from-pod", str(FROM_POD))
    options = ("--publish", f"{laptop_port}:8080", *ways)
    child = python_probe(townsman, "http:8080", f"http:{FROM_POD}@127.0.0.1")
    with swapped(townsman, "both:main", *options, child=child) as swap:
        yield swap
        assert swap.end() == 0
    assert_restored(before)


def asked(host: str, port: int) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://{host}:{port}/", timeout=10) as answer:
        said: dict[str, Any] = json.loads(answer.read())
    return said


def refuses(host: str, port: int) -> bool:
    """A reset is no refusal: there was a listener, which just ended."""
    try:
        socket.create_connection((host, port), timeout=5).close()
    except ConnectionError as error:
        return isinstance(error, ConnectionRefusedError)
    return False


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_port_that_was_asked_for_reaches_the_command_from_the_laptops_localhost(
    both: Swap, laptop_port: int, host: str
) -> None:
    answer = asked(host, laptop_port)
    assert answer["who"] == "laptop"
    assert answer["peer"] == "::1", "from loopback, in the family that is sure to be listened on"
    assert f"localhost:{laptop_port} (its 8080)" in both.running.err


def test_whatever_else_it_listens_on_is_published_told_and_gone_with_its_listener(both: Swap) -> None:
    (port,) = free_ports(1)
    assert refuses("127.0.0.1", port)
    both.probe.ask("listen", kind="http", port=port)
    both.running.wait_err(rf"^telepresence-py: localhost:{port} on this laptop reaches the command$")
    assert asked("127.0.0.1", port)["who"] == "laptop"
    both.probe.ask("close", port=port)
    wait_until(lambda: refuses("127.0.0.1", port), SOON_SECONDS, "the port is the laptop's again")


def test_nothing_is_published_beyond_loopback(both: Swap, town: Namespace, laptop_port: int) -> None:
    (node,) = {pod["status"]["hostIP"] for pod in sidecar_pods(town, "both")}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as towards:
        towards.connect((node, 9))
        own = towards.getsockname()[0]
    assert not own.startswith("127.")
    assert refuses(own, laptop_port)


def test_a_port_that_the_laptop_has_is_told_and_left_to_the_laptop(both: Swap) -> None:
    (port,) = free_ports(1)
    with socket.create_server(("127.0.0.1", port)) as theirs:
        both.probe.ask("listen", kind="http", port=port)
        both.running.wait_err(rf"port {port} is not published: another program has .*--publish \d+:{port}$")
        with socket.create_connection(("127.0.0.1", port)) as client, theirs.accept()[0] as connection:
            connection.sendall(b"the laptop's own")
            assert client.recv(100) == b"the laptop's own"
    both.probe.ask("close", port=port)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_a_port_of_the_pods_localhost_is_found_by_the_command(both: Swap, host: str) -> None:
    answer = both.probe.ask("tcp", host=host, port=HELPER_PORT, send="to the helper")
    assert answer["received"] == "to the helper"


def test_other_ports_of_the_pods_localhost_are_not(both: Swap) -> None:
    """Whatever answers there, it is the laptop's: nobody does."""
    with pytest.raises(ProbeError):
        both.probe.ask("tcp", host="127.0.0.1", port=free_ports(1)[0], send="x")


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
def test_a_container_of_the_pod_that_calls_localhost_reaches_the_command(
    both: Swap, town: Namespace, host: str
) -> None:
    (pod,) = sidecar_pods(town, "both")
    call = ("exec", "-i", pod["metadata"]["name"], "-c", "helper", "--", "python3", "-")
    answer = json.loads(town.kubectl(*call, f"http://{host}:{FROM_POD}/from-helper", stdin=CALL))
    assert (answer["who"], answer["path"], answer["peer"]) == ("laptop", "/from-helper", "127.0.0.1")


def test_what_is_brought_from_the_pods_localhost_is_out_of_reach_for_other_pods(
    both: Swap, town: Namespace
) -> None:
    (pod,) = sidecar_pods(town, "both")
    town.ensure_customers_pod()
    program = (
        "import socket, sys\n"
        "try: socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)\n"
        "except ConnectionRefusedError: print('refused')\n"
    )
    arguments = (pod["status"]["podIP"], str(FROM_POD))
    assert town.python_in_pod("customers", program, *arguments) == "refused\n"


def test_nothing_is_published_where_that_is_not_wanted(town: Namespace, townsman: Product) -> None:
    published, silent = free_ports(2)
    program = python_probe(townsman, f"http:{published}", f"http:{silent}")
    options = ("--no-publish", "--publish", str(published))
    running = townsman.start("run", *options, "--", *program, pipe_stdout=True)
    running.wait_err(rf"localhost:{published} on this laptop reaches the command")
    assert asked("127.0.0.1", published)["who"] == "laptop"
    assert refuses("127.0.0.1", silent)
    assert not re.search(rf"localhost:{silent}\b", running.err)
    assert running.process.stdin is not None
    running.process.stdin.close()
    assert running.wait() == 0
    assert refuses("127.0.0.1", published)
