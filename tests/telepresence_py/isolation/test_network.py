"""What a process inside meets on the network; real namespaces, as a plain user and, if we are it, as root."""

from __future__ import annotations

import errno
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from telepresence_py.isolation.inside import Inside
from tests.telepresence_py.isolation.joined import (
    POD_V4,
    POD_V6,
    each_user,
    entered,
    joined,
    run_trio_as,
    view,
)
from tests.telepresence_py.isolation.relay import tell_destinations

FAR_V4, FAR_V6 = "10.96.0.10", "fd00:10:96::a"

CLASS_E = "240.1.2.3"
"""Reserved (RFC 1112), and all the same what some clusters give to pods and Services."""


def connect(address: str, port: int) -> str:
    """What a connection is told, or the name of the errno."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(5)
        try:
            sock.connect((address, port))
            return sock.recv(1000).decode()
        except OSError as error:
            return errno.errorcode[error.errno or 0]


def inside_does(user: str, body: Callable[[Inside], Awaitable[Any]], **shown: Any) -> Any:
    """Run `body` as that user beside a relay that tells destinations."""

    async def main() -> Any:
        async with entered(view(**shown)) as inside, trio.open_nursery() as nursery:
            await nursery.start(tell_destinations, inside)
            result = await body(inside)
            nursery.cancel_scope.cancel()
        return result

    return run_trio_as(user, main)


def call_inside(user: str, call: Callable[[], Any], **shown: Any) -> Any:
    return inside_does(user, lambda inside: joined(inside, call), **shown)


@each_user
@pytest.mark.parametrize(
    ("address", "own"), [(FAR_V4, POD_V4), (FAR_V6, POD_V6), ("8.8.8.8", POD_V4), (CLASS_E, POD_V4)]
)
def test_a_connection_is_accepted_outside_with_its_true_destination(
    user: str, address: str, own: str
) -> None:
    told = call_inside(user, lambda: connect(address, 5432))
    assert told == f"captured {address} 5432 {own}"


@each_user
@pytest.mark.parametrize(("address", "own"), [(FAR_V4, POD_V4), (FAR_V6, POD_V6), (CLASS_E, POD_V4)])
def test_a_datagram_is_answered_from_the_address_that_it_was_sent_to(
    user: str, address: str, own: str
) -> None:
    def ask() -> tuple[str, str]:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.settimeout(5)
            sock.connect((address, 53))
            sock.send(b"who?")
            first = sock.recv(1000).decode()
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.settimeout(5)
            sock.bind(("", 53))
            sock.sendto(b"again", (address, 53))
            data, source = sock.recvfrom(1000)
            assert source[:2] == (address, 53)
        return first, data.decode()

    first, second = call_inside(user, ask)
    assert first == f"captured {address} 53 {own} who?"
    assert second == f"captured {address} 53 {own} again"


@pytest.mark.parametrize("address", ["255.255.255.255", "239.1.2.3"])
def test_what_is_no_address_of_one_machine_is_not_captured(address: str) -> None:
    """A TCP connection there is refused by the kernel, as it is everywhere."""
    assert call_inside("plain", lambda: connect(address, 5432)) in ("ENETUNREACH", "ECONNREFUSED")


def test_datagrams_of_every_size_pass_both_ways() -> None:
    def ask() -> list[int]:
        lengths = []
        for address in (FAR_V4, FAR_V6):
            with socket.socket(
                socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM
            ) as sock:
                sock.settimeout(5)
                sock.connect((address, 9999))
                for size in (0, 1, 1473, 60_000):
                    sock.send(b"x" * size)
                    lengths.append(len(sock.recv(1 << 16)) - len(f"captured {address} 9999  ") - size)
        return lengths

    assert call_inside("plain", ask) == [len(POD_V4)] * 4 + [len(POD_V6)] * 4


def test_a_service_on_a_port_on_which_the_child_listens_too_is_reached() -> None:
    def ask() -> str:
        with socket.create_server(("", 8080)):
            return connect(FAR_V4, 8080)

    assert call_inside("plain", ask) == f"captured {FAR_V4} 8080 {POD_V4}"


@each_user
@pytest.mark.parametrize("own", [POD_V4, POD_V6])
def test_helpers_of_the_pod_answer_at_its_own_address_and_nobody_else_does(user: str, own: str) -> None:
    def ask() -> tuple[str, str, str]:
        with socket.create_server(
            (own, 8080), family=socket.AF_INET6 if ":" in own else socket.AF_INET
        ) as at:
            at.settimeout(5)
            reached = connect(own, 8081), connect(own, 8082)
            with socket.create_connection((own, 8080), 5):
                return *reached, str(at.accept()[1][0])

    told = f"captured {own} 8081 {own}"
    assert call_inside(user, ask, helper_ports=(8081,)) == (told, "ECONNREFUSED", own)


@pytest.mark.parametrize("own", [POD_V4, POD_V6])
def test_a_helper_answers_datagrams_at_the_pods_own_address(own: str) -> None:
    def ask() -> str:
        with socket.socket(socket.AF_INET6 if ":" in own else socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(5)
            sock.connect((own, 8125))
            sock.send(b"count")
            return sock.recv(1000).decode()

    assert call_inside("plain", ask, helper_ports=(8125,)) == f"captured {own} 8125 {own} count"


@each_user
def test_a_family_in_which_the_pod_has_no_address_fails_at_once(user: str) -> None:
    both = lambda: (connect(FAR_V4, 80), connect(FAR_V6, 80))  # noqa: E731
    assert call_inside(user, both, addresses=(POD_V4,)) == (f"captured {FAR_V4} 80 {POD_V4}", "ENETUNREACH")
    assert call_inside(user, both, addresses=(POD_V6,)) == ("ENETUNREACH", f"captured {FAR_V6} 80 {POD_V6}")


@each_user
def test_the_interface_has_all_addresses_of_the_pod(user: str) -> None:
    def addresses() -> list[str]:
        bound = []
        for address in ("10.1.1.1", "10.1.1.2", "fd00::1"):
            with socket.socket(
                socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM
            ) as sock:
                sock.bind((address, 80))
                bound.append(sock.getsockname()[0])
        assert socket.if_nametoindex("eth0")
        with open("/proc/net/if_inet6") as file:
            assert any(line.split()[0] == "fd" + "0" * 29 + "1" and "eth0" in line for line in file)
        return [*bound, connect("10.1.1.2", 81), connect("fd00::1", 81)]

    told = call_inside(user, addresses, addresses=("10.1.1.1", "10.1.1.2", "fd00::1"))
    assert told == ["10.1.1.1", "10.1.1.2", "fd00::1", "ECONNREFUSED", "ECONNREFUSED"]


@each_user
@pytest.mark.parametrize("loopback", ["127.0.0.1", "127.8.8.8", "::1"])
def test_localhost_falls_through_where_nobody_inside_listens(user: str, loopback: str) -> None:
    own = "::1" if loopback == "::1" else "127.0.0.1"
    assert call_inside(user, lambda: connect(loopback, 5432)) == f"loopback {loopback} 5432 {own}"


def test_localhost_falls_through_in_both_families_whatever_the_pods_addresses() -> None:
    told = call_inside("plain", lambda: connect("::1", 80), addresses=(POD_V4,))
    assert told == "loopback ::1 80 ::1"


@pytest.mark.parametrize(
    ("listens", "address"),
    [("127.0.0.1", "127.0.0.1"), ("", "127.0.0.1"), ("::1", "::1"), ("::", "::1"), ("::", "127.0.0.1")],
)
def test_localhost_stays_inside_where_somebody_listens(listens: str, address: str) -> None:
    def ask() -> bool:
        family = socket.AF_INET6 if ":" in listens else socket.AF_INET
        with socket.create_server((listens, 7000), family=family, dualstack_ipv6=listens == "::") as server:
            connecting = socket.AF_INET6 if ":" in address else socket.AF_INET
            with socket.socket(connecting, socket.SOCK_STREAM) as client:
                client.connect((address, 7000))
                accepted, _peer = server.accept()
                with accepted:
                    accepted.send(b"inside")
                    return client.recv(100) == b"inside"

    assert call_inside("plain", ask)


def test_datagrams_to_localhost_do_not_fall_through() -> None:
    def ask() -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(5)
            sock.connect(("127.0.0.1", 5353))
            sock.send(b"anybody?")
            try:
                return bool(sock.recv(100))
            except ConnectionRefusedError:
                return False

    assert call_inside("plain", ask) is False


def is_answered(address: str) -> bool:
    """Whether a `ping` of that address is, within a moment."""
    family, protocol, request = socket.AF_INET, socket.IPPROTO_ICMP, b"\x08\0\0\0\0\0\0\1ping"
    if ":" in address:
        family, protocol, request = socket.AF_INET6, socket.IPPROTO_ICMPV6, b"\x80" + request[1:]
    with socket.socket(family, socket.SOCK_DGRAM, protocol) as sock:
        sock.settimeout(0.3)
        sock.connect((address, 0))
        sock.send(request)
        try:
            return sock.recv(100).endswith(b"ping")
        except TimeoutError:
            return False


@each_user
@pytest.mark.parametrize(
    ("address", "answered"),
    [
        (FAR_V4, False),
        (FAR_V6, False),
        ("8.8.8.8", False),
        (POD_V4, True),
        (POD_V6, True),
        ("127.0.0.1", True),
        ("::1", True),
    ],
)
def test_a_ping_is_answered_for_the_pod_itself_and_for_nobody_else(
    user: str, address: str, answered: bool
) -> None:
    assert call_inside(user, lambda: is_answered(address)) is answered


@each_user
def test_low_ports_and_ping_are_allowed(user: str) -> None:
    def ask() -> int:
        with socket.create_server(("", 80)):
            pass
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as sock:
            sock.settimeout(5)
            sock.connect(("127.0.0.1", 0))
            sock.send(b"\x08\0\0\0\0\0\0\1ping")
            return len(sock.recv(100))

    assert call_inside(user, ask)
