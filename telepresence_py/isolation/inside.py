"""What the session holds of the child's world while it stands."""

from __future__ import annotations

import os
import socket
from array import array
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from socket import socket as Socket
from types import MappingProxyType

import trio

from telepresence_py.isolation.diagnosis import Diagnosis
from telepresence_py.isolation.listening import bound_ports, listening_ports
from telepresence_py.isolation.messages import Handed, Refused, decode, socket_request
from telepresence_py.isolation.network import CAPTURE_PORT, LOOPBACK_PORT
from telepresence_py.isolation.redirecting import RedirectedListener, RedirectedReceiver
from telepresence_py.isolation.syn_queue import SynQueue
from telepresence_py.model.errors import SessionLost
from telepresence_py.model.world import ContainerPlace


class Inside:
    """The child's namespaces, seen from outside. All sockets and descriptors here close with it.

    `tcp_listeners` accept the child's connections: getsockname() of an accepted socket is the address that
    the child meant. `loopback_listeners` accept those to 127.0.0.0/8 and ::1 on ports where nobody inside
    listens. `udp_sockets` receive datagrams with the address that was meant as ancillary data
    (IP_RECVORIGDSTADDR, IPV6_RECVORIGDSTADDR); `raw_sockets` (by family, IPPROTO_RAW) send whole IP packets
    to the child. A family in which the pod has no address has none of these but a loopback listener. All are
    non-blocking. `diagnosis` tells how far connections to the child have come; None where the kernel does
    not. `syn_queue` has the connections of the child that wait to be let go; None where none wait.

    `volume_directories` (by path) are to be filled through their descriptors; the child sees them at their
    paths. `namespaces` (user, net, uts, mnt, pid) are for setns, in this order; the mount namespace's root
    and /proc are those that the child shall have. `agent_pid`, as the laptop sees it, is pid 1 inside. `lost`
    is set when the agent ended, and with it every process inside.

    A joined process of a plain user has no capability after exec; one of root's keeps root's within the user
    namespace, which reach nothing outside of it.
    """

    shares_localhost = False
    variables: Mapping[str, str] = MappingProxyType({})
    container: ContainerPlace | None = None
    proxies: tuple[Socket, ...] = ()
    fast_proxies: tuple[Socket, ...] = ()
    name_doors: tuple[Socket, ...] = ()
    proxy_secret = ""

    def __init__(
        self, agent_pid: int, control: trio.socket.SocketType, handed: Mapping[str, Sequence[int]]
    ) -> None:
        self.agent_pid = agent_pid
        self.lost = trio.Event()
        self._control = control
        self._asking = trio.Lock()
        self._waiting: deque[trio.MemorySendChannel[Socket | OSError]] = deque()
        self._conntrack = _sockets(handed.get("conntrack", []))
        self.tcp_listeners = (
            *_sockets(handed.get("tcp", [])),
            *map(RedirectedListener, handed.get("tcp-redirected", [])),
        )
        self.loopback_listeners = _sockets(handed.get("loopback", []))
        self.udp_sockets = (
            *_sockets(handed.get("udp", [])),
            *(
                RedirectedReceiver(descriptor, wire)
                for descriptor, wire in zip(handed.get("udp-redirected", []), self._conntrack, strict=True)
            ),
        )
        self.raw_sockets = {int(each.family): each for each in _sockets(handed.get("raw", []))}
        self._wires = _sockets(handed.get("diagnosis", []))
        self.diagnosis = Diagnosis(self._wires[0]) if self._wires else None
        held = handed.get("held", []) or handed.get("logged", [])
        self._queue = _sockets([*held, *handed.get("destroyed", [])])
        self._again = {int(each.family): each for each in _sockets(handed.get("again", []))}
        self.syn_queue = _syn_queue(self._queue, self._again, self.diagnosis)
        self.volume_directories = _by_detail(handed, "volume")
        self.namespaces = _by_detail(handed, "namespace")
        self._tables = handed["network-tables"][0]

    async def socket(self, family: int) -> Socket:
        """A non-blocking TCP socket born inside; the caller closes it. SessionLost when the agent is gone.

        What it connects to is inside: loopback and the pod's addresses are the child's.
        """
        send, receive = trio.open_memory_channel[Socket | OSError](1)
        async with receive:
            if self.lost.is_set():
                raise SessionLost(_GONE)
            try:
                await self._ask(socket_request(family), send)
                answer = await receive.receive()
            except (OSError, trio.EndOfChannel) as error:
                raise SessionLost(_GONE) from error
        if isinstance(answer, OSError):
            raise answer
        return answer

    async def _ask(self, request: bytes, answer_to: trio.MemorySendChannel[Socket | OSError]) -> None:
        """Answers come in the order of the requests, so the two must not part."""
        async with self._asking:
            self._waiting.append(answer_to)
            try:
                await self._control.send(request)
            except BaseException:
                with suppress(ValueError):
                    self._waiting.remove(answer_to)
                raise

    def listening_ports(self) -> dict[int, frozenset[str]]:
        """Port -> addresses on which somebody inside listens (TCP); empty when the agent is gone."""
        tables = (_read(self._tables, name) for name in ("tcp", "tcp6"))
        ports = listening_ports(*tables)
        return {port: at for port, at in ports.items() if port not in {CAPTURE_PORT, LOOPBACK_PORT}}

    def bound_ports(self) -> dict[int, frozenset[str]]:
        """The same of UDP: addresses to which somebody inside is bound, and takes datagrams from anybody."""
        ports = bound_ports(*(_read(self._tables, name) for name in ("udp", "udp6")))
        return {port: at for port, at in ports.items() if port != CAPTURE_PORT}

    async def watch(self) -> None:
        """Deliver the agent's answers until it ends; then `lost` is set. Run once, by whoever made this."""
        try:
            while (packet := await receive_packet(self._control)) is not None:
                self._deliver(*packet)
        finally:
            self.lost.set()
            while self._waiting:
                self._waiting.popleft().close()

    def _deliver(self, data: bytes, descriptors: list[int]) -> None:
        answer: Socket | OSError
        match decode(data):
            case Handed(_):
                (answer,) = _sockets(descriptors)
            case Refused(refusal):
                answer = OSError(refusal.errno, refusal.detail)
            case _:  # the agent's last words; its end follows
                return
        with self._waiting.popleft() as waiting:
            try:
                waiting.send_nowait(answer)
            except trio.BrokenResourceError:  # who asked was cancelled
                if isinstance(answer, Socket):
                    answer.close()

    def leave_namespaces(self) -> None:
        """The child does not join them by itself."""
        for descriptor in self.namespaces.values():
            os.close(descriptor)
        self.namespaces = {}

    def close(self) -> None:
        """Close all descriptors; called by whoever made this."""
        for each in (
            *self.tcp_listeners,
            *self.loopback_listeners,
            *self.udp_sockets,
            *self.raw_sockets.values(),
            *self._wires,
            *self._queue,
            *self._again.values(),
            *self._conntrack,
        ):
            each.close()
        for descriptor in (*self.volume_directories.values(), *self.namespaces.values(), self._tables):
            with suppress(OSError):
                os.close(descriptor)


_GONE = "the namespaces of the command are gone: the process that held them ended"
_PACKET = 1 << 16
_DESCRIPTORS_SPACE = socket.CMSG_SPACE(253 * 4)


async def receive_packet(control: trio.socket.SocketType) -> tuple[bytes, list[int]] | None:
    """One packet and its descriptors; None at the end of the socket."""
    try:
        data, ancillary, _flags, _address = await control.recvmsg(
            _PACKET, _DESCRIPTORS_SPACE, socket.MSG_CMSG_CLOEXEC
        )
    except OSError:
        return None
    descriptors = [
        descriptor
        for level, kind, payload in ancillary
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
        for descriptor in array("i", payload)
    ]
    return (data, descriptors) if data else None


def _sockets(descriptors: Sequence[int]) -> tuple[Socket, ...]:
    made = tuple(Socket(fileno=descriptor) for descriptor in descriptors)
    for each in made:
        each.setblocking(False)
    return made


def _syn_queue(
    held: Sequence[Socket], again: Mapping[int, Socket], diagnosis: Diagnosis | None
) -> SynQueue | None:
    if not held:
        return None
    if not again:
        return SynQueue(held, diagnosis)
    from telepresence_py.isolation.syn_log import SynLog  # where the kernel has no queue

    return SynLog(held, again, diagnosis)


def _by_detail(handed: Mapping[str, Sequence[int]], kind: str) -> dict[str, int]:
    """`kind:detail` -> its descriptor, by detail."""
    prefix = f"{kind}:"
    return {name.removeprefix(prefix): each[0] for name, each in handed.items() if name.startswith(prefix)}


def _read(directory: int, name: str) -> str:
    try:
        with open(os.open(name, os.O_RDONLY, dir_fd=directory)) as file:
            return file.read()
    except OSError:
        return ""
