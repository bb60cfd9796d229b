"""Held connections; the kernel's side of it is shown with isolation, and the whole on a cluster."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from contextlib import closing

import pytest

from telepresence_py.forward import choosing, truthful
from telepresence_py.forward.directions import Directions
from telepresence_py.forward.outbound import serve_outbound
from telepresence_py.forward.syns import Ends
from telepresence_py.model.rules import Way
from telepresence_py.model.world import HeldSyn
from telepresence_py.tunnel.interface import Tunnel
from tests.fakes.loop import in_loop, until
from tests.fakes.sink import Recorder
from tests.telepresence_py.forward.worlds import CapturingListener, MuxTunnel

ORDERS = ("10.96.0.10", 8080)


class Queue:
    """The kernel's queue, as the test plays it: `told` are the verdicts, in their order."""

    def __init__(self) -> None:
        self._waking, self._wake = os.pipe()
        self.descriptors = (self._waking,)
        self.told: list[tuple[str, int, int]] = []
        self.still_connecting: set[HeldSyn] = set()
        self._syns: list[HeldSyn] = []
        self._gone: list[Ends] = []

    def close(self) -> None:
        os.close(self._waking)
        os.close(self._wake)

    def hold(self, *syns: HeldSyn) -> None:
        self._syns += syns
        os.write(self._wake, b"!")

    def tell_gone(self, syn: HeldSyn) -> None:
        self._gone.append((syn.child, syn.destination))
        os.write(self._wake, b"!")

    def receive(self) -> tuple[list[HeldSyn], list[Ends]]:
        os.read(self._waking, 100)
        syns, gone, self._syns, self._gone = self._syns, self._gone, [], []
        return syns, gone

    def is_connecting(self, syn: HeldSyn) -> bool:
        return syn in self.still_connecting

    def let_go(self, syn: HeldSyn) -> None:
        self.told.append(("let go", syn.packet, 0))

    def refuse(self, syn: HeldSyn, error: int) -> None:
        self.told.append(("refused", syn.packet, error))

    def drop(self, syn: HeldSyn) -> None:
        self.told.append(("dropped", syn.packet, 0))


class Child:
    """A socket that will connect from where its packet says."""

    def __init__(self, destination: tuple[str, int] = ORDERS, packet: int = 1) -> None:
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.bind(("127.0.0.1", 0))
        self.syn = HeldSyn(self.socket.getsockname(), destination, 4711, packet)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    async def connect(self, address: tuple[str, int], data: bytes = b"") -> Recorder:
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self.socket, address)
        recorder = Recorder()
        await loop.create_connection(lambda: recorder, sock=self.socket)
        assert recorder.transport is not None
        recorder.transport.write(data)
        return recorder


@in_loop
async def test_a_connection_stands_once_the_pod_has_it_and_goes_on_in_the_same_stream() -> None:
    tunnel = MuxTunnel()
    with closing(Queue()) as queue, CapturingListener(ORDERS) as listener, Child() as child:
        async with serve_outbound([listener], [], tunnel.as_tunnel, syn_queue=queue) as joints:
            queue.hold(child.syn)
            await until(lambda: len(tunnel.pair.at_pod) == 1)
            (stream,) = tunnel.pair.at_pod
            assert (stream.opening.host, stream.opening.port, stream.opening.rest) == (*ORDERS, b"")
            assert queue.told == []
            stream.accept()
            stream.write(b"220 hello")
            await until(lambda: queue.told == [("let go", 1, 0)])
            client = await child.connect(listener.at, b"ping")
            pod = Recorder()
            stream.set_protocol(pod)
            await until(lambda: (client.received, pod.received) == (b"220 hello", b"ping"))
            assert len(tunnel.pair.at_pod) == 1
            assert len(joints) == 1


@pytest.mark.parametrize("error", [errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES])
def test_what_the_pod_is_told_the_child_is_told(error: int) -> None:
    @in_loop
    async def told() -> None:
        tunnel = MuxTunnel()
        with closing(Queue()) as queue, Child() as child:
            async with serve_outbound([], [], tunnel.as_tunnel, syn_queue=queue):
                queue.hold(child.syn)
                await until(lambda: len(tunnel.pair.at_pod) == 1)
                tunnel.pair.at_pod[0].refuse(error)
                await until(lambda: queue.told == [("refused", 1, error)])

    told()


@in_loop
async def test_silence_in_the_pod_is_silence_and_a_repetition_is_dialled_anew() -> None:
    tunnel = MuxTunnel()
    with closing(Queue()) as queue, Child() as child:
        async with serve_outbound([], [], tunnel.as_tunnel, syn_queue=queue):
            queue.hold(child.syn)
            await until(lambda: len(tunnel.pair.at_pod) == 1)
            queue.hold(child.syn._replace(packet=2))
            await until(lambda: queue.told == [("dropped", 2, 0)])
            tunnel.pair.at_pod[0].refuse(errno.ETIMEDOUT)
            await until(lambda: queue.told[1:] == [("dropped", 1, 0)])
            queue.hold(child.syn._replace(packet=3))
            await until(lambda: len(tunnel.pair.at_pod) == 2)
            tunnel.pair.at_pod[1].accept()
            await until(lambda: queue.told[2:] == [("let go", 3, 0)])


@in_loop
async def test_while_the_link_is_down_connections_wait() -> None:
    tunnel = MuxTunnel()
    with closing(Queue()) as queue, Child() as child:
        async with serve_outbound([], [], tunnel.as_tunnel, syn_queue=queue):
            tunnel.pair.cut()
            queue.hold(child.syn, child.syn._replace(packet=2))
            await until(lambda: queue.told == [("dropped", 2, 0)])
            assert tunnel.pair.at_pod == []
            tunnel.pair.connect()
            await until(lambda: len(tunnel.pair.at_pod) == 1)
            tunnel.pair.at_pod[0].accept()
            await until(lambda: queue.told[1:] == [("let go", 1, 0)])


@in_loop
async def test_a_tunnel_that_is_lost_meanwhile_is_silence() -> None:
    lost, next_one = MuxTunnel(), MuxTunnel()
    tunnels = [lost.as_tunnel()]
    with closing(Queue()) as queue, Child() as child:
        async with serve_outbound([], [], lambda: tunnels[0], syn_queue=queue):
            queue.hold(child.syn)
            await until(lambda: len(lost.pair.at_pod) == 1)
            tunnels[0] = next_one.as_tunnel()
            lost.pair.laptop.abort()
            await until(lambda: queue.told == [("dropped", 1, 0)])
            queue.hold(child.syn._replace(packet=2))
            await until(lambda: len(next_one.pair.at_pod) == 1)


@in_loop
async def test_without_a_tunnel_connections_wait_for_the_next_one() -> None:
    tunnels: list[MuxTunnel] = []

    def choose() -> Tunnel | None:
        return tunnels[0].as_tunnel() if tunnels else None

    with closing(Queue()) as queue, Child() as child:
        async with serve_outbound([], [], choose, syn_queue=queue):
            queue.hold(child.syn, child.syn._replace(packet=2))
            await until(lambda: queue.told == [("dropped", 2, 0)])
            tunnels.append(MuxTunnel())
            await until(lambda: len(tunnels[0].pair.at_pod) == 1)
            tunnels[0].pair.at_pod[0].accept()
            await until(lambda: queue.told[1:] == [("let go", 1, 0)])


@in_loop
async def test_without_a_tunnel_for_long_the_network_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "PATIENCE_SECONDS", 0.1)
    with closing(Queue()) as queue, Child() as child:
        async with serve_outbound([], [], lambda: None, syn_queue=queue):
            queue.hold(child.syn)
            await until(lambda: queue.told == [("refused", 1, errno.ENETDOWN)])


@in_loop
async def test_a_child_that_gives_up_ends_the_dial_in_the_pod_and_one_that_goes_on_does_not() -> None:
    tunnel = MuxTunnel()
    with closing(Queue()) as queue, Child(packet=1) as stays, Child(packet=2) as leaves:
        queue.still_connecting.add(stays.syn)
        async with serve_outbound([], [], tunnel.as_tunnel, syn_queue=queue):
            queue.hold(stays.syn, leaves.syn)
            await until(lambda: len(tunnel.pair.at_pod) == 2)
            pods = [Recorder(), Recorder()]
            for stream, pod in zip(tunnel.pair.at_pod, pods, strict=True):
                stream.set_protocol(pod)
            queue.tell_gone(stays.syn)
            queue.tell_gone(leaves.syn)
            await until(lambda: queue.told == [("dropped", 2, 0)])
            await until(pods[1].lost.done)
            assert not pods[0].lost.done()


@in_loop
async def test_a_port_that_the_child_uses_again_is_a_new_connection() -> None:
    tunnel = MuxTunnel()
    with closing(Queue()) as queue, Child() as child:
        async with serve_outbound([], [], tunnel.as_tunnel, syn_queue=queue):
            queue.hold(child.syn)
            await until(lambda: len(tunnel.pair.at_pod) == 1)
            before = Recorder()
            tunnel.pair.at_pod[0].set_protocol(before)
            queue.hold(child.syn._replace(sequence=4712, packet=2))
            await until(lambda: len(tunnel.pair.at_pod) == 2)
            await until(before.lost.done)
            tunnel.pair.at_pod[1].accept()
            await until(lambda: queue.told[-1:] == [("let go", 2, 0)])


@in_loop
async def test_localhost_is_dialled_on_the_laptop_before_it_stands() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        here = server.getsockname()
        with (
            closing(Queue()) as queue,
            CapturingListener(here) as listener,
            Child(here, packet=1) as child,
            Child(here, packet=2) as ours,
        ):
            ours_only = ours.syn.child[1]
            async with serve_outbound(
                [], [listener], lambda: None, lambda peer: peer.port == ours_only, syn_queue=queue
            ):
                queue.hold(child.syn)
                loop = asyncio.get_running_loop()
                laptop, _ = await loop.sock_accept(server)
                await until(lambda: queue.told == [("let go", 1, 0)])
                await child.connect(listener.at, b"ping")
                with laptop:
                    assert await loop.sock_recv(laptop, 10) == b"ping"
                queue.hold(ours.syn)
                await until(lambda: queue.told[1:] == [("refused", 2, errno.ECONNREFUSED)])


@in_loop
async def test_a_port_of_the_pods_localhost_is_dialled_there() -> None:
    tunnel = MuxTunnel()
    with closing(Queue()) as queue, Child(("127.0.0.1", 5432)) as child:
        directions = Directions(lambda _: Way.TUNNEL, pod_localhost={5432})
        async with serve_outbound([], [], tunnel.as_tunnel, directions=directions, syn_queue=queue):
            queue.hold(child.syn)
            await until(lambda: len(tunnel.pair.at_pod) == 1)
            (stream,) = tunnel.pair.at_pod
            assert (stream.opening.host, stream.opening.port) == ("localhost", 5432)
            stream.refuse(errno.ECONNREFUSED)
            await until(lambda: queue.told == [("refused", 1, errno.ECONNREFUSED)])


@in_loop
async def test_a_port_that_nobody_on_the_laptop_serves_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        closed = unused.getsockname()
    with closing(Queue()) as queue, Child(closed) as child:
        async with serve_outbound([], [], lambda: None, syn_queue=queue):
            queue.hold(child.syn)
            await until(lambda: queue.told == [("refused", 1, errno.ECONNREFUSED)])


@in_loop
async def test_what_is_never_to_be_reached_is_refused_and_no_tunnel_hears_of_it() -> None:
    tunnel = MuxTunnel()
    with closing(Queue()) as queue, Child() as child:
        never = Directions(lambda _: Way.NEVER)
        async with serve_outbound([], [], tunnel.as_tunnel, directions=never, syn_queue=queue):
            queue.hold(child.syn)
            await until(lambda: queue.told == [("refused", 1, errno.ECONNREFUSED)])
            assert tunnel.pair.at_pod == []


@in_loop
async def test_what_a_rule_keeps_is_dialled_from_the_laptop_before_it_stands() -> None:
    kept = Directions(lambda _: Way.LAPTOP)
    with socket.create_server(("0.0.0.0", 0)) as server:
        server.setblocking(False)
        open_one = server.getsockname()
        with (
            closing(Queue()) as queue,
            CapturingListener(open_one) as listener,
            Child(open_one, packet=1) as child,
            Child(open_one, packet=2) as refused,
        ):
            async with serve_outbound([listener], [], lambda: None, directions=kept, syn_queue=queue):
                queue.hold(child.syn)
                loop = asyncio.get_running_loop()
                laptop, _ = await loop.sock_accept(server)
                await until(lambda: queue.told == [("let go", 1, 0)])
                await child.connect(listener.at, b"ping")
                with laptop:
                    assert await loop.sock_recv(laptop, 10) == b"ping"
                server.close()
                queue.hold(refused.syn)
                await until(lambda: queue.told[1:] == [("refused", 2, errno.ECONNREFUSED)])


@in_loop
async def test_queries_over_tcp_stand_at_once_and_go_to_whom_the_directions_name() -> None:
    async def serve(connection: socket.socket) -> None:
        connection.sendall(b"answer")
        connection.close()

    with closing(Queue()) as queue, CapturingListener(ORDERS) as listener, Child() as child:
        names = Directions(lambda _: Way.NAMES, serve)
        async with serve_outbound([listener], [], lambda: None, directions=names, syn_queue=queue):
            queue.hold(child.syn)
            await until(lambda: queue.told == [("let go", 1, 0)])
            client = await child.connect(listener.at)
            await until(lambda: client.received == b"answer")


@in_loop
async def test_a_connection_that_the_kernel_did_not_hold_goes_out_as_without() -> None:
    tunnel = MuxTunnel()
    with closing(Queue()) as queue, CapturingListener(ORDERS) as listener, Child() as child:
        async with serve_outbound([listener], [], tunnel.as_tunnel, syn_queue=queue):
            await child.connect(listener.at, b"ping")
            await until(lambda: len(tunnel.pair.at_pod) == 1)


@in_loop
async def test_a_leg_that_no_connection_takes_ends_in_the_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(truthful, "REMEMBERED_SECONDS", 0.05)
    tunnel = MuxTunnel()
    with closing(Queue()) as queue, Child() as child:
        async with serve_outbound([], [], tunnel.as_tunnel, syn_queue=queue):
            queue.hold(child.syn)
            await until(lambda: len(tunnel.pair.at_pod) == 1)
            pod = Recorder()
            tunnel.pair.at_pod[0].set_protocol(pod)
            tunnel.pair.at_pod[0].accept()
            await until(pod.lost.done)


@in_loop
async def test_the_end_of_the_service_ends_what_waits_and_answers_nothing() -> None:
    tunnel = MuxTunnel()
    with closing(Queue()) as queue, Child() as child:
        async with serve_outbound([], [], tunnel.as_tunnel, syn_queue=queue):
            queue.hold(child.syn)
            await until(lambda: len(tunnel.pair.at_pod) == 1)
            pod = Recorder()
            tunnel.pair.at_pod[0].set_protocol(pod)
        await until(pod.lost.done)
        assert queue.told == []
