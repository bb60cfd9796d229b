"""Makes the network namespace that we are in the pod's, and every connection lead to our sockets."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress

from telepresence_py.isolation import netlink_socket
from telepresence_py.isolation.netlink import add_address, add_anyip_route, add_link, set_link_up
from telepresence_py.isolation.nftables import Capture, capture_requests
from telepresence_py.isolation.steps import Step, taking
from telepresence_py.isolation.syn_queue import QueueRefused, open_queue
from telepresence_py.process.kernel import write_setting

CAPTURE_PORT = 64998
LOOPBACK_PORT = 64999
"""Ports of our listeners in the child's world, above the ephemeral ones; nobody else can listen there."""

INTERFACE = "eth0"

# <linux/in.h>, <linux/in6.h>: Python has no names for them
_IP_TRANSPARENT = 19
_IP_RECVORIGDSTADDR = 20
_IPV6_RECVORIGDSTADDR = 74
_IPV6_TRANSPARENT = 75

_INTERFACE_KINDS = ("dummy", "bridge", "veth")
_BACKLOG = 4096


def pack(address: str) -> bytes:
    """An IP address as the bytes that netlink wants."""
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def bring_up(
    addresses: Iterable[str],
    helper_ports: tuple[int, ...] = (),
    held: bool = False,
    redirected: bool = False,
) -> tuple[list[tuple[str, socket.socket]], list[str]]:
    """Interface, addresses, routes, capture, sockets. Returns the sockets, named, and notices.

    A family in which the pod has no address gets no route: connecting in it fails at once, as in the pod.
    The names are tcp, loopback, udp and raw; there may be two of each, by family. When connections are to be
    `held` and can be, there are also those of `syn_queue`. With `redirected` they are those of `redirecting`.
    """
    packed = [pack(address) for address in addresses]
    notices = _relax()
    if not _has_ipv6() and any(len(each) == 16 for each in packed):
        packed = [each for each in packed if len(each) == 4]
        notices.append("this machine has no IPv6: the command has the pod's IPv4 address alone")
    with taking(Step.INTERFACE):
        _bring_up_interface(packed)
    if redirected:
        return _redirect(packed, helper_ports), notices
    sockets, captures = [], []
    for family in (socket.AF_INET, socket.AF_INET6):
        own = tuple(each for each in packed if (len(each) == 4) == (family == socket.AF_INET))
        if family == socket.AF_INET6 and not own and not _has_ipv6():
            continue
        if own:
            _lead_all_to_loopback(own[0])
        with taking(Step.CAPTURE):
            capture = Capture(family, own, CAPTURE_PORT, LOOPBACK_PORT, helper_ports)
            netlink_socket.exchange(netlink_socket.NETFILTER, capture_requests(capture))
        captures.append(capture)
        with taking(Step.LISTENERS):
            sockets += _open_sockets(family, is_captured=bool(own))
    if held:
        try:
            sockets += _hold(captures)
        except QueueRefused as refused:
            notices.append(
                "connect() of the command succeeds at once, and what is refused shows as a reset after it: "
                f"the kernel cannot hold connections ({refused}); `modprobe -a nfnetlink_queue nft_queue "
                "nft_reject_ipv4 nft_reject_ipv6` as root may help, `--connect fast` accepts it"
            )
    return sockets, notices


def _hold(captures: Sequence[Capture]) -> list[tuple[str, socket.socket]]:
    try:
        return open_queue(captures)
    except QueueRefused as refused:
        # seldom wanted, and it would stay in the agent's memory
        from telepresence_py.isolation.syn_log import open_log

        try:
            return open_log(captures)
        except QueueRefused as second:
            raise QueueRefused(f"queue: {refused}; log: {second}") from second


def _redirect(packed: list[bytes], helper_ports: tuple[int, ...]) -> list[tuple[str, socket.socket]]:
    # seldom wanted, and it would stay in the agent's memory
    from telepresence_py.isolation.redirecting import Redirection, open_redirected, redirection_requests

    sockets = []
    for family in (socket.AF_INET, socket.AF_INET6):
        own = tuple(each for each in packed if (len(each) == 4) == (family == socket.AF_INET))
        if own:
            _lead_all_to_loopback(own[0])
            with taking(Step.REDIRECTION):
                redirection = Redirection(family, own, CAPTURE_PORT, helper_ports)
                netlink_socket.exchange(netlink_socket.NETFILTER, redirection_requests(redirection))
                sockets += open_redirected(family, CAPTURE_PORT)
    return sockets


def _lead_all_to_loopback(source: bytes) -> None:
    with taking(Step.ROUTE):
        route = add_anyip_route(socket.if_nametoindex("lo"), source)
        netlink_socket.exchange(netlink_socket.ROUTE, [route])


def _has_ipv6() -> bool:
    return os.path.exists("/proc/net/if_inet6")


def _relax() -> list[str]:
    """What the pod's runtime allows: ports below 1024 and ping for everybody. Some containers refuse."""
    notices = []
    # systems that switch IPv6 off do so for new namespaces too
    with suppress(OSError):
        write_setting("/proc/sys/net/ipv6/conf/all/disable_ipv6", "0")
    try:
        write_setting("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0")
    except OSError as error:
        notices.append(f"the command cannot listen on ports below 1024: {error.strerror}")
    # only ids that are mapped are legal
    for groups in ("0 2147483647", f"{os.getegid()} {os.getegid()}"):
        with suppress(OSError):
            write_setting("/proc/sys/net/ipv4/ping_group_range", groups)
            break
    return notices


def _bring_up_interface(packed: list[bytes]) -> None:
    """No packet ever uses it, but some programs want an interface other than `lo` with the address."""
    route = netlink_socket.ROUTE
    netlink_socket.exchange(route, [set_link_up(socket.if_nametoindex("lo"))])
    _add_interface()
    index = socket.if_nametoindex(INTERFACE)
    netlink_socket.exchange(route, [set_link_up(index), *(add_address(index, each) for each in packed)])


def _add_interface() -> None:
    refused: OSError | None = None
    for kind in _INTERFACE_KINDS:
        try:
            netlink_socket.exchange(netlink_socket.ROUTE, [add_link(INTERFACE, kind)])
        except OSError as error:
            refused = refused or error
        else:
            return
    assert refused is not None
    raise refused


def _open_sockets(family: int, is_captured: bool) -> list[tuple[str, socket.socket]]:
    sockets = [("loopback", _transparent(family, socket.SOCK_STREAM, LOOPBACK_PORT))]
    if is_captured:
        sockets.append(("tcp", _transparent(family, socket.SOCK_STREAM, CAPTURE_PORT)))
        sockets.append(("udp", _transparent(family, socket.SOCK_DGRAM, CAPTURE_PORT)))
        # replies come from foreign addresses: written with their headers, they need neither bind nor agent
        sockets.append(("raw", socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)))
    for _name, each in sockets:
        each.setblocking(False)
    return sockets


def _transparent(family: int, kind: int, port: int) -> socket.socket:
    is_v4 = family == socket.AF_INET
    level = socket.IPPROTO_IP if is_v4 else socket.IPPROTO_IPV6
    made = socket.socket(family, kind)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if not is_v4:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    made.setsockopt(level, _IP_TRANSPARENT if is_v4 else _IPV6_TRANSPARENT, 1)
    if kind == socket.SOCK_DGRAM:
        made.setsockopt(level, _IP_RECVORIGDSTADDR if is_v4 else _IPV6_RECVORIGDSTADDR, 1)
    made.bind(("0.0.0.0" if is_v4 else "::", port))
    if kind == socket.SOCK_STREAM:
        made.listen(_BACKLOG)
    return made
