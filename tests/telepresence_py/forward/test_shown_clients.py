"""Whom the child takes for its client: the address that called the pod; in real namespaces."""

from __future__ import annotations

import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from telepresence_py.forward.inbound import ChildNetwork, serve_inbound
from telepresence_py.forward.packets import Endpoint
from telepresence_py.forward.reaching import shown_client
from telepresence_py.isolation.inside import Inside
from telepresence_py.model.network import PortMap
from telepresence_py.tunnel.bridge import run
from telepresence_sidecar.contract.frames import Kind, Opening
from tests.fakes.sink import Recorder
from tests.telepresence_py.forward.test_inbound import until
from tests.telepresence_py.forward.worlds import MuxTunnel
from tests.telepresence_py.isolation.joined import POD_V4, POD_V6, entered, joined, run_as, start_joined, view

CLIENT_V4, CLIENT_V6 = "203.0.113.9", "2001:db8::9"
PORT = 8080


@pytest.mark.parametrize(
    ("client", "target", "shown"),
    [
        (CLIENT_V4, POD_V4, CLIENT_V4),
        (CLIENT_V4, "127.0.0.1", CLIENT_V4),
        (POD_V6, POD_V6, POD_V6),
        (CLIENT_V4, POD_V6, POD_V6),
        (CLIENT_V6, "127.0.0.1", POD_V4),
        ("127.0.0.1", "127.0.0.1", None),
        ("::1", "::1", None),
        ("fe80::1%eth0", POD_V6, POD_V6),
        ("", POD_V4, POD_V4),
    ],
)
def test_a_client_that_the_childs_socket_cannot_have_is_the_pod(
    client: str, target: str, shown: str | None
) -> None:
    found = shown_client(Endpoint(client, 40000), Endpoint(target, PORT), (POD_V4, POD_V6))
    assert found == (None if shown is None else Endpoint(shown, 40000 if shown == client else 0))


def tell_peers(address: str) -> None:
    """A child that tells each client its address as accept(2) and getpeername(2) have it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, PORT), family=family) as server:
        while True:
            connection, accepted = server.accept()
            with connection:
                connection.sendall(json.dumps([accepted[:2], connection.getpeername()[:2]]).encode())


def in_child_that_listens_on(
    address: str, body: Callable[[Inside, MuxTunnel], Awaitable[Any]], of_loopback: bool = False
) -> Any:
    """What `body` returns, beside a child that tells its clients who they are."""

    async def main() -> Any:
        with trio.fail_after(20):
            async with entered(view()) as inside, trio.open_nursery() as nursery:
                child = ChildNetwork(
                    inside.socket, inside.listening_ports, (POD_V4, POD_V6), inside.diagnosis
                )
                tunnel = MuxTunnel()
                ports = (PortMap(80, PORT), PortMap(81, PORT, of_loopback=of_loopback))
                async with serve_inbound(nursery, ports, child) as inbound:
                    inbound.attach(tunnel.as_tunnel())
                    start_joined(inside, lambda: tell_peers(address))
                    await inbound.wait_listening()
                    answer = await body(inside, tunnel)
                nursery.cancel_scope.cancel()
        return answer

    return run_as("plain", lambda: run(main))


async def told(tunnel: MuxTunnel, client: str, port: int, pod_port: int = 80) -> tuple[str, int]:
    """The end that the child had of a client that called the pod from there, and which stays connected."""
    stream = tunnel.pair.pod.open(Opening(Kind.INBOUND, client, pod_port, port))
    heard = Recorder()
    stream.set_protocol(heard)
    await until(heard.eof.is_set)
    accepted, peer = json.loads(heard.received)
    assert accepted == peer
    return peer[0].removeprefix("::ffff:"), peer[1]


@pytest.mark.parametrize(
    ("listens_on", "client"),
    [
        ("0.0.0.0", CLIENT_V4),
        ("::", CLIENT_V6),
        (POD_V4, CLIENT_V4),
        (POD_V6, CLIENT_V6),
        ("127.0.0.1", CLIENT_V4),
        ("::1", CLIENT_V6),
        (POD_V4, POD_V4),
        (POD_V6, POD_V6),
    ],
)
def test_accept_and_getpeername_tell_who_called_the_pod(listens_on: str, client: str) -> None:
    async def ask(_inside: Inside, tunnel: MuxTunnel) -> Any:
        return [await told(tunnel, client, port) for port in (40000, 40001)]

    assert in_child_that_listens_on(listens_on, ask) == [(client, 40000), (client, 40001)]


def test_a_container_of_the_pod_that_called_by_loopback_comes_from_loopback() -> None:
    async def ask(_inside: Inside, tunnel: MuxTunnel) -> Any:
        return await told(tunnel, "127.0.0.1", 40000, pod_port=81)

    address, _ = in_child_that_listens_on("0.0.0.0", ask, of_loopback=True)
    assert address == "127.0.0.1"


@pytest.mark.parametrize("listens_on", ["0.0.0.0", "127.0.0.1"])
def test_a_client_of_a_family_in_which_the_child_does_not_listen_is_never_taken_for_loopback(
    listens_on: str,
) -> None:
    async def ask(_inside: Inside, tunnel: MuxTunnel) -> Any:
        return await told(tunnel, CLIENT_V6, 40000)

    address, _ = in_child_that_listens_on(listens_on, ask)
    assert address == POD_V4


def test_a_client_of_two_pods_from_one_port_is_told_by_its_address() -> None:
    """To the child both are connections to its one address, and two cannot have the same ends."""

    async def ask(_inside: Inside, tunnel: MuxTunnel) -> Any:
        return [await told(tunnel, CLIENT_V4, 40000) for _ in range(3)]

    ends = in_child_that_listens_on("0.0.0.0", ask)
    assert {address for address, _ in ends} == {CLIENT_V4}
    assert len(set(ends)) == 3


def test_the_child_can_listen_on_a_port_that_a_client_calls_from() -> None:
    async def ask(inside: Inside, tunnel: MuxTunnel) -> Any:
        called_from = await told(tunnel, CLIENT_V4, 50000)
        return called_from, await joined(inside, listen_on_50000), await told(tunnel, CLIENT_V4, PORT)

    called_from, listens, from_own_port = in_child_that_listens_on("0.0.0.0", ask)
    assert called_from == (CLIENT_V4, 50000)
    assert listens == ("0.0.0.0", 50000)
    assert from_own_port[0] == CLIENT_V4


def listen_on_50000() -> Any:
    with socket.create_server(("0.0.0.0", 50000)) as server:
        return server.getsockname()
