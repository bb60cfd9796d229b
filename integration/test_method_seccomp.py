"""`--method seccomp`: TCP and names of any program go through the pod, without a namespace or a right."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from integration.probe.beside import free_port, shell_beside
from integration.probe.languages import Builder
from integration.probe.shell_child import ShellChild
from integration.probe.town import SERVICE_ACCOUNT
from integration.support.namespaces import Namespace
from integration.support.product import Product

CONNECT = (
    "import socket, sys; s = socket.socket(); s.settimeout(None if sys.argv[3] == '1' else 20);"
    "print(s.connect_ex((sys.argv[1], int(sys.argv[2]))))"
)
BY_LOOP = (
    "import asyncio, sys\n"
    "async def main():\n"
    "    reader, writer = await asyncio.open_connection('peer', 7000)\n"
    "    writer.write(b'there and back'); writer.write_eof()\n"
    "    print((await reader.read()).decode())\n"
    "asyncio.run(main())"
)


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def child(town: Namespace, townsman: Product, port: int) -> Iterator[ShellChild]:
    with shell_beside(town, townsman, "filtered", "seccomp", port) as child:
        yield child


def test_what_it_cannot_do_is_said_before_anything_is_touched(child: ShellChild) -> None:
    told, _, after = child.swap.running.err.partition("Connected to ")
    for limit in ("Only TCP and names", "musl", "/etc/hosts", "TELEPRESENCE_ROOT", "runs on"):
        assert limit in told
        assert limit not in after
    assert "isolated by a filter of its calls (--method seccomp)" in after


def test_curl_reaches_the_cluster_by_short_and_by_whole_names(child: ShellChild, town: Namespace) -> None:
    for name in ("peer", f"peer.{town.name}", f"peer.{town.name}.svc.cluster.local"):
        said, code = child.run(f"curl -sS http://{name}/by-curl")
        assert code == 0, said
        answer = json.loads(said)
        assert (answer["who"], answer["path"]) == ("peer", "/by-curl")


def test_an_event_loop_reaches_the_cluster(child: ShellChild, townsman: Product) -> None:
    said, code = child.run(f'{townsman.python} -c "{BY_LOOP}"')
    assert (said, code) == ("there and back", 0)


def test_both_families_lead_to_a_pod(child: ShellChild, town: Namespace) -> None:
    for one in town.pods("app=peer")[0]["status"]["podIPs"]:
        said, code = child.run(f"curl -sS http://{_in_url(one['ip'])}:8080/")
        assert code == 0, said


def _in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def test_a_static_go_program_reaches_the_cluster_by_its_own_resolver(
    child: ShellChild, builder: Builder
) -> None:
    program = builder.built("static") / "probe"
    said, code = child.run(
        f"""echo '{{"ask": "tcp", "host": "peer", "port": 7000, "send": "go"}}' | {program} ask"""
    )
    assert code == 0, said
    assert "go" in said


def test_connect_that_waits_tells_the_truth(child: ShellChild, town: Namespace, townsman: Product) -> None:
    address = town.pods("app=peer")[0]["status"]["podIP"]
    said, code = child.run(f'{townsman.python} -c "{CONNECT}" {address} 9 1')
    assert (said, code) == ("111", 0), "ECONNREFUSED"
    said, code = child.run(f'{townsman.python} -c "{CONNECT}" {address} 8080 1')
    assert (said, code) == ("0", 0)


def test_what_is_refused_shows_as_a_reset_to_who_does_not_wait(
    child: ShellChild, town: Namespace, townsman: Product
) -> None:
    address = town.pods("app=peer")[0]["status"]["podIP"]
    program = (
        "import socket, sys; s = socket.create_connection((sys.argv[1], 9), 20); "
        "exec('try:\\n print(s.recv(1))\\nexcept OSError as error:\\n print(error.errno)')"
    )
    said, code = child.run(f'{townsman.python} -c "{program}" {address}')
    assert (said, code) == ("104", 0), "ECONNRESET"


def test_datagrams_to_elsewhere_are_refused_instead_of_leaving_by_the_laptop(
    child: ShellChild, town: Namespace, townsman: Product
) -> None:
    address = town.pods("app=peer")[0]["status"]["podIP"]
    program = (
        "import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
        "print(s.connect_ex((sys.argv[1], 7001)))\n"
        "try: s.sendto(b'x', (sys.argv[1], 7001))\n"
        "except OSError as error: print(error.errno)"
    )
    said, code = child.run(f'{townsman.python} -c "{program}" {address}')
    assert (said.split(), code) == (["101", "101"], 0), "ENETUNREACH"


def test_a_name_that_the_pod_does_not_know_is_not_found(child: ShellChild) -> None:
    said, code = child.run("curl -sS http://no-such-service/")
    assert code == 6, said


def test_localhost_is_the_laptops(child: ShellChild) -> None:
    with socket.create_server(("127.0.0.1", 0)) as database:
        said, code = child.run(f"timeout 5 bash -c '</dev/tcp/127.0.0.1/{database.getsockname()[1]}'")
        assert code == 0, said


def test_variables_are_the_pods_and_small_volumes_are_below_a_directory(child: ShellChild) -> None:
    said, code = child.run(
        'echo "$PLAIN"; cat "$TELEPRESENCE_ROOT"/etc/target/config/colour; env | grep -ci proxy'
    )
    assert said.splitlines() == ["a value", "green", "0"]
    said, code = child.run(f'cat "$TELEPRESENCE_ROOT"{SERVICE_ACCOUNT}/namespace')
    assert code == 0, said


def test_a_request_to_the_service_is_answered_by_the_child(
    child: ShellChild, town: Namespace, townsman: Product, port: int
) -> None:
    probe = townsman.source("integration/probe/probe.py")
    _, code = child.run(
        f"PROBE_WHO=laptop {townsman.python} {probe} serve http:{port} & echo $! >filtered.pid"
    )
    assert code == 0
    try:
        answer = json.loads(town.ask("http://filtered/hello", seconds=30))
        assert (answer["who"], answer["path"]) == ("laptop", "/hello")
    finally:
        child.run("kill -9 $(cat filtered.pid); rm filtered.pid")


def test_it_works_where_user_namespaces_are_refused(townsman: Product) -> None:
    """A user namespace in which no further ones may be made stands for a kernel that refuses them."""
    words = "telepresence-py run --method seccomp -- curl -sS http://peer/"
    refusing = f"echo 0 >/proc/sys/user/max_user_namespaces && exec {words}"
    ended = townsman.start_command(["unshare", "--user", "--map-root-user", "sh", "-c", refusing]).finish()
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["who"] == "peer"
