"""The method "redirect" keeps what `userns` promises, but for what it says; in real namespaces."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, NoReturn

import pytest
import trio

from telepresence_py.forward.datagrams import original_destination
from telepresence_py.forward.packets import endpoint_of, unreachable_packet
from telepresence_py.isolation import Method, enter, network, userns
from telepresence_py.isolation.contract import Serve
from telepresence_py.isolation.inside import Inside
from telepresence_py.model.events import Event
from telepresence_py.model.world import NetworkView
from tests.telepresence_py.isolation.joined import (
    POD_V4,
    POD_V6,
    answer_of,
    each_user,
    entered,
    fork_agent,
    joined,
    run_trio_as,
    start_joined,
    view,
)
from tests.telepresence_py.isolation.relay import tell_destinations
from tests.telepresence_py.isolation.test_network import FAR_V4, FAR_V6, call_inside, connect

BOTH = pytest.mark.parametrize(("address", "own"), [(FAR_V4, POD_V4), (FAR_V6, POD_V6)])


def redirected(user: str, call: Callable[[], Any], **shown: Any) -> Any:
    return call_inside(user, call, redirected=True, **shown)


def asking_datagrams(address: str, port: int, *sizes: int) -> list[str]:
    """What each is answered, to one socket."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.connect((address, port))
        answers = []
        for size in sizes:
            sock.send(b"x" * size)
            answers.append(sock.recv(1 << 16).decode())
        return answers


@each_user
@BOTH
def test_a_connection_is_accepted_outside_with_its_true_destination(
    user: str, address: str, own: str
) -> None:
    assert redirected(user, lambda: connect(address, 5432)) == f"captured {address} 5432 {own}"


@each_user
@BOTH
def test_datagrams_of_every_size_are_answered_from_the_address_that_they_were_sent_to(
    user: str, address: str, own: str
) -> None:
    sizes = (1, 1473, 60_000)
    told = redirected(user, lambda: asking_datagrams(address, 53, *sizes))
    assert told == [f"captured {address} 53 {own} {'x' * size}" for size in sizes]


@BOTH
def test_one_socket_may_ask_two_servers(address: str, own: str) -> None:
    """As resolvers do; redirected, both flows would look alike."""
    other = address[:-1] + "b" if ":" in address else address[:-1] + "1"

    def ask() -> list[tuple[str, str]]:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(5)
            told = []
            for server in (address, other, address):
                sock.sendto(b"who?", (server, 53))
                data, source = sock.recvfrom(1000)
                told.append((source[0], source[1], data.decode()))
            return told

    assert redirected("plain", ask) == [
        (server, 53, f"captured {server} 53 {own} who?") for server in (address, other, address)
    ]


def test_a_service_on_a_port_on_which_the_child_listens_too_is_reached() -> None:
    def ask() -> str:
        with socket.create_server(("", 8080)):
            return connect(FAR_V4, 8080)

    assert redirected("plain", ask) == f"captured {FAR_V4} 8080 {POD_V4}"


@pytest.mark.parametrize("own", [POD_V4, POD_V6])
def test_helpers_of_the_pod_answer_at_its_own_address_and_nobody_else_does(own: str) -> None:
    def ask() -> tuple[str, str, list[str]]:
        return connect(own, 8081), connect(own, 8082), asking_datagrams(own, 8081, 1)

    told = f"captured {own} 8081 {own}"
    assert redirected("plain", ask, helper_ports=(8081,)) == (told, "ECONNREFUSED", [f"{told} x"])


def test_a_family_in_which_the_pod_has_no_address_fails_at_once() -> None:
    both = lambda: (connect(FAR_V4, 80), connect(FAR_V6, 80))  # noqa: E731
    told = redirected("plain", both, addresses=(POD_V4,))
    assert told == (f"captured {FAR_V4} 80 {POD_V4}", "ENETUNREACH")


@pytest.mark.parametrize("loopback", ["127.0.0.1", "::1"])
def test_localhost_is_the_childs_alone(loopback: str) -> None:
    assert redirected("plain", lambda: connect(loopback, 5432)) == "ECONNREFUSED"


@BOTH
def test_that_a_destination_refuses_datagrams_can_be_told(address: str, own: str) -> None:
    def ask() -> str:
        with pytest.raises(ConnectionRefusedError):
            asking_datagrams(address, 9, 1)
        return "refused"

    async def main() -> str:
        async with entered(view(redirected=True)) as inside:
            answer = start_joined(inside, ask)
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            (receiver,) = (each for each in inside.udp_sockets if each.family == family)
            await trio.lowlevel.wait_readable(receiver)
            _data, ancillary, _flags, source = receiver.recvmsg(1 << 16, 256)
            child, destination = endpoint_of(source), original_destination(ancillary)
            assert destination == (address, 9)
            assert child.address == own
            inside.raw_sockets[family].sendto(unreachable_packet(child, destination), (own, 0))
            return str(await answer_of(*answer))

    assert run_trio_as("plain", main) == "refused"


def test_it_is_taken_where_the_kernel_has_no_tproxy_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(_capture: object) -> NoReturn:
        raise OSError(errno.ENOENT, "nftables rule with tproxy: No such file or directory")

    def redirection(
        shown: NetworkView, notice: Callable[[str], None], serve: Serve
    ) -> AbstractAsyncContextManager[Inside]:
        return userns.enter(shown._replace(redirected=True), notice, serve, fork_agent)

    monkeypatch.setattr(network, "capture_requests", lacking)
    methods = [
        Method("userns", "tproxy", lambda _facts: None, partial(userns.enter, start=fork_agent)),
        Method("redirect", "redirection", lambda _facts: None, redirection),
    ]
    events: list[Event] = []

    async def main() -> tuple[str, str]:
        async with enter(view(), events.append, methods=methods) as world, trio.open_nursery() as nursery:
            assert isinstance(world, Inside)
            await nursery.start(tell_destinations, world)
            told = await joined(world, lambda: connect(FAR_V4, 5432))
            nursery.cancel_scope.cancel()
        return told, events[-1].text

    told, text = run_trio_as("plain", main)
    assert told == f"captured {FAR_V4} 5432 {POD_V4}"
    assert "(--method redirect)" in text
    assert "modprobe -a nf_tables nft_tproxy nft_socket" in text
