"""`python -m benchmarks.driver`: the product's tunnel alone, used as `kubectl port-forward` is.

A listening socket on 127.0.0.1 for each port of the pod; what connects there goes through one tunnel to that
port, by the product's own ways of opening and joining. Told on stdin by one line of JSON, the fields of
Forwarding; answers with a line that tells the laptop's port for each of the pod's; lives until stdin ends.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import sys
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from functools import partial
from typing import cast

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from telepresence_py.cluster.client import Cluster, open_cluster
from telepresence_py.cluster.portforward import port_forward_target
from telepresence_py.forward.accepting import Accepting
from telepresence_py.forward.joining import Joints
from telepresence_py.forward.outbound import FIRST_BYTES
from telepresence_py.model.intent import ClusterChoice
from telepresence_py.process.kernel import settle_heap
from telepresence_py.process.plugin import run_plugin
from telepresence_py.tunnel import bridge
from telepresence_py.tunnel.connection import open_tunnel
from telepresence_py.tunnel.interface import Tunnel
from telepresence_py.tunnel.keys import SessionKey

CONNECT_SECONDS = PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Forwarding:
    """`private_key` in OpenSSH's format, `fingerprint` as the pod's log tells it."""

    kubeconfig: str
    namespace: str
    pod: str
    tunnel_port: int
    fingerprint: str
    private_key: str
    ports: tuple[int, ...]


def tunnel_of(cluster: Cluster, told: Forwarding) -> AbstractAsyncContextManager[Tunnel]:
    private = cast(Ed25519PrivateKey, load_ssh_private_key(told.private_key.encode(), None))
    key = SessionKey("", private)
    dial = partial(port_forward_target, cluster, told.pod, told.tunnel_port)
    return open_tunnel(dial, key, told.fingerprint, CONNECT_SECONDS, PATIENCE_SECONDS)


async def forward(told: Forwarding) -> None:
    choice = ClusterChoice(kubeconfig=told.kubeconfig, namespace=told.namespace)
    async with open_cluster(choice, partial(run_plugin, terminal=False, aside=True)) as cluster:
        async with tunnel_of(cluster, told) as tunnel:
            tunnel.set_ready(True)
            joints = Joints()
            listeners = {port: socket.create_server(("127.0.0.1", 0), backlog=4096) for port in told.ports}
            accepting = [
                Accepting([listener], partial(join, joints, tunnel, port))
                for port, listener in listeners.items()
            ]
            found = {port: listener.getsockname()[1] for port, listener in listeners.items()}
            print(json.dumps({"ports": found}), flush=True)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(end_when, tunnel.lost, nursery.cancel_scope)
                await trio.to_thread.run_sync(os.read, 0, 1, abandon_on_cancel=True)
                nursery.cancel_scope.cancel()
            for listening in accepting:
                listening.close()
            joints.abort()
            # no goodbye: after one the sidecar would end, and others are still to come


def join(joints: Joints, tunnel: Tunnel, port: int, connection: socket.socket) -> None:
    """As serve_outbound does, but for where it goes: what is there already travels with the request."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    first = b""
    with suppress(BlockingIOError, ConnectionResetError):
        first = connection.recv(FIRST_BYTES)
    joints.start(joints.to_stream(connection, tunnel.open("127.0.0.1", port, first)))


async def end_when(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    print("driver: the tunnel was lost", file=sys.stderr, flush=True)
    scope.cancel()


def main() -> None:
    settle_heap()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    fields = json.loads(sys.stdin.readline())
    fields["ports"] = tuple(fields["ports"])
    bridge.run(partial(forward, Forwarding(**fields)))


if __name__ == "__main__":
    main()
