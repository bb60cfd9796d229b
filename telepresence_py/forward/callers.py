"""The cluster's datagrams to the pod, handed to the child as whole packets that come from the client.

No socket of ours is between: the child sees the client's address and port, and what it sends there is
captured as any datagram of its own is; known by its two ends, it leaves by the port that the client called.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Mapping

from telepresence_py.forward.flows import IdleTable
from telepresence_py.forward.packets import Endpoint, FlowKey, canonical, endpoint_of
from telepresence_py.forward.targets import Listening, is_loopback, targets
from telepresence_py.tunnel.interface import MuxStream, Tunnel

MOST_CALLERS = 4096
IDLE_SECONDS = 180.0
"""As the pod keeps them."""

FRESH_SECONDS = 0.05
"""So old may be what is known of the sockets to which the child is bound."""

OF_POD_V4, OF_POD_V6 = "192.0.0.8", "100::8"
"""Whom the child has for a container of its pod, whose true address would be the child's own: what is sent to
that never leaves. Addresses that nobody has (RFC 7600, RFC 6666)."""


class Callers:
    """asyncio. `child_ports` by the pod's, UDP; `bound` reads where the child takes datagrams, and
    `send(source, child, datagram)` brings one to it. `close` ends every flow."""

    def __init__(
        self,
        child_ports: Mapping[int, int],
        pod_addresses: tuple[str, ...],
        bound: Callable[[], Listening],
        send: Callable[[Endpoint, Endpoint, bytes], None],
        clock: Callable[[], float],
    ) -> None:
        self._child_ports = child_ports
        self._pod_addresses = tuple(map(canonical, pod_addresses))
        self._read_bound = bound
        self._bound: Listening = {}
        self._looked = float("-inf")
        self._send = send
        self._clock = clock
        self._flows: IdleTable[FlowKey, _Caller] = IdleTable(MOST_CALLERS, IDLE_SECONDS)
        self._closed = False

    def __len__(self) -> int:
        return len(self._flows)

    def attach(self, tunnel: Tunnel) -> None:
        """Datagrams that come to that tunnel's pod are the child's from now on."""
        if self._child_ports:
            tunnel.listen_datagrams(self._arrived)

    def answer(self, key: FlowKey, datagram: bytes) -> bool:
        """Whether what the child sent was for one of its clients; then it is on its way."""
        caller = self._flows.use(key, self._clock())
        if caller is None:
            return False
        caller.stream.write(datagram)
        return True

    def expire(self) -> None:
        for caller in self._flows.expire(self._clock()):
            caller.stream.close()

    def close(self) -> None:
        self._closed = True
        for caller in self._flows.clear():
            caller.stream.abort(errno.ECONNREFUSED)

    # --- what a caller tells -----------------------------------------------------------------------------

    def called(self, caller: _Caller, datagram: bytes) -> None:
        target = self._target(caller)
        if target is None:  # nobody takes it now: lost, as with a program that restarts
            return
        key, now = FlowKey(target, caller.client), self._clock()
        if self._flows.use(key, now) is not caller:
            self.ended(caller)  # at another address of the child's
            # who calls two pods of ours from one port is answered by the one that it called last
            for gone in self._flows.add(key, caller, now):
                if gone.key != key:
                    gone.stream.close()
            caller.key = key
        self._send(caller.client, target, datagram)

    def ended(self, caller: _Caller) -> None:
        if caller.key is not None and self._flows.use(caller.key, self._clock()) is caller:
            self._flows.remove(caller.key)

    # --- inside ------------------------------------------------------------------------------------------

    def _arrived(self, stream: MuxStream, pod_port: int, peer: tuple[str, int]) -> None:
        if self._closed or pod_port not in self._child_ports:
            stream.refuse(errno.ECONNREFUSED)
            return
        stream.accept()
        caller = _Caller(self, stream, self._shown(endpoint_of(peer)), self._child_ports[pod_port])
        stream.set_protocol(caller)

    def _shown(self, client: Endpoint) -> Endpoint:
        if is_loopback(client.address) or canonical(client.address) in self._pod_addresses:
            return client._replace(address=OF_POD_V6 if ":" in client.address else OF_POD_V4)
        return client

    def _target(self, caller: _Caller) -> Endpoint | None:
        """Of the client's family, as packets have one."""
        now = self._clock()
        if now - self._looked > FRESH_SECONDS:
            self._bound, self._looked = self._read_bound(), now
        for address in targets(self._bound.get(caller.child_port, ()), self._pod_addresses):
            if (":" in address) == (":" in caller.client.address):
                return Endpoint(address, caller.child_port)
        return None


class _Caller(asyncio.Protocol):
    """One client of one of the pod's ports, and the protocol of its stream. `key` is that of its last
    datagram."""

    def __init__(self, callers: Callers, stream: MuxStream, client: Endpoint, child_port: int) -> None:
        self.stream = stream
        self.client = client
        self.child_port = child_port
        self.key: FlowKey | None = None
        self._callers = callers

    def data_received(self, data: bytes) -> None:
        self._callers.called(self, data)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._callers.ended(self)
