"""Held, delivered, redelivered, handed over, refused. The laptop is the other end of a mux in memory."""

from __future__ import annotations

import asyncio
import errno
import random
import socket
from contextlib import suppress

import pytest

from telepresence_sidecar.contract.splice import reset
from telepresence_sidecar.contract.stream import MuxStream
from telepresence_sidecar.inbound import Inbound
from telepresence_sidecar.sockets import listen_everywhere
from tests.fakes.loop import at_end, in_loop, until
from tests.fakes.sink import Recorder
from tests.telepresence_sidecar.inbound_pod import PORT, Pod, listener


def taken(stream: MuxStream) -> Recorder:
    recorder = Recorder()
    stream.accept()
    stream.set_protocol(recorder)
    return recorder


@in_loop
async def test_who_calls_before_there_is_a_client_is_served_when_it_comes() -> None:
    pod = await Pod().start()
    _, heard = await pod.call()
    await pod.held(1)
    pod.answer = lambda stream: stream.accept()
    pod.client_comes()
    await until(lambda: bool(pod.offered))
    recorder = taken(pod.offered[0])
    await until(lambda: recorder.received == b"hello")
    pod.offered[0].write(b"welcome")
    await until(lambda: heard.received == b"welcome")
    assert not pod.inbound.idle
    assert pod.offered[0].opening.port == PORT
    assert pod.offered[0].opening.peer_port > 0


@in_loop
async def test_ports_that_the_laptop_does_not_take_are_held() -> None:
    pod = await Pod().start()
    pod.client_comes(frozenset({PORT + 1}))
    await pod.call()
    await pod.held(1)
    assert not pod.offered
    pod.inbound.listening(frozenset({PORT}))
    await until(lambda: bool(pod.offered))


@in_loop
async def test_a_refused_offer_is_repeated_with_all_bytes() -> None:
    pod = await Pod().start()

    def refuse_twice(stream: MuxStream) -> None:
        if len(pod.offered) < 3:
            stream.refuse(errno.ECONNREFUSED)

    pod.answer = refuse_twice
    pod.client_comes()
    caller, _ = await pod.call(b"one ")
    await until(lambda: len(pod.offered) == 2)
    caller.write(b"two")
    caller.write_eof()
    await until(lambda: len(pod.offered) == 3)
    recorder = taken(pod.offered[2])
    await recorder.eof.wait()
    assert recorder.received == b"one two"


@in_loop
async def test_who_calls_while_the_link_is_down_is_offered_when_it_is_back() -> None:
    pod = await Pod().start()
    pod.client_comes()
    pod.inbound.wait()
    await pod.call()
    await pod.held(1)
    assert pod.pair.pod_link.kept == 0
    pod.inbound.go_on()
    await until(lambda: bool(pod.offered))
    recorder = taken(pod.offered[0])
    await until(lambda: recorder.received == b"hello")


@in_loop
async def test_an_offer_that_the_link_lost_is_made_to_the_next_client() -> None:
    pod = await Pod().start()
    first = pod.client_comes()
    await pod.call()
    await until(lambda: len(pod.offered) == 1)
    first.pod.wire_lost(None)
    pod.inbound.client(None)
    pod.client_comes()
    await until(lambda: len(pod.offered) == 2)
    recorder = taken(pod.offered[1])
    await until(lambda: recorder.received == b"hello")


@in_loop
async def test_what_was_accepted_and_broken_is_not_offered_again() -> None:
    pod = await Pod().start()
    pod.client_comes()
    _, heard = await pod.call()
    await until(lambda: bool(pod.offered))
    pod.offered[0].accept()
    pod.offered[0].abort()
    assert isinstance(await heard.lost, ConnectionResetError)
    await until(lambda: pod.inbound.idle)
    assert len(pod.offered) == 1


@in_loop
async def test_more_than_may_wait_are_reset() -> None:
    pod = await Pod().start(hold_connections=2)
    waiting = [(await pod.call())[1] for _ in range(2)]
    await pod.held(2)
    _, third = await pod.call(b"")
    assert isinstance(await third.lost, ConnectionResetError)
    assert not any(recorder.lost.done() for recorder in waiting)


@in_loop
async def test_who_waited_too_long_is_reset() -> None:
    pod = await Pod().start(hold_seconds=0.1)
    _, first = await pod.call()
    await pod.held(1)
    assert isinstance(await first.lost, ConnectionResetError)
    _, second = await pod.call()
    assert isinstance(await second.lost, ConnectionResetError)
    await until(lambda: pod.inbound.idle)


@in_loop
async def test_who_gives_up_waiting_frees_its_place() -> None:
    pod = await Pod().start(hold_connections=1)
    caller, _ = await pod.call()
    await pod.held(1)
    reset(caller)
    await pod.held(0)
    _, second = await pod.call()
    await pod.held(1)
    assert not second.lost.done()


@in_loop
async def test_a_waiting_caller_that_sends_much_is_read_no_further_and_loses_nothing() -> None:
    pod = await Pod().start()
    caller, _ = await pod.call(b"")
    sent = bytes(range(256)) * 4000
    caller.write(sent)
    caller.write_eof()
    await pod.held(1)
    pod.client_comes()
    await until(lambda: bool(pod.offered))
    recorder = taken(pod.offered[0])
    await recorder.eof.wait()
    assert recorder.received == sent


@in_loop
async def test_held_and_new_connections_go_to_the_restored_original() -> None:
    pod = await Pod().start()
    originals: list[Recorder] = []

    def original() -> Recorder:
        originals.append(Recorder())
        return originals[-1]

    pod.inbound._mux = None
    _, early_heard = await pod.call(b"early")
    await pod.held(1)
    # the original has the pod's port at an address of its own
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(original, "127.0.0.2", PORT)
    except OSError:
        pytest.skip(f"port {PORT} of 127.0.0.2 is taken on this machine")
    pod.inbound.hand_over(["192.0.2.1", "127.0.0.3", "127.0.0.2"])
    await until(lambda: len(originals) == 1 and originals[0].received == b"early")
    originals[0].transport.write(b"back again")  # type: ignore[union-attr]
    await until(lambda: early_heard.received == b"back again")
    pod.client_comes()
    await pod.call(b"late")
    await until(lambda: len(originals) == 2 and originals[1].received == b"late")
    assert not pod.offered
    server.close()


@in_loop
async def test_an_original_that_is_not_there_yet_is_tried_again() -> None:
    pod = await Pod().start()
    await pod.call()
    pod.inbound.hand_over(["127.0.0.2"])
    await pod.held(1)
    recorders: list[Recorder] = []

    def original() -> Recorder:
        recorders.append(Recorder())
        return recorders[-1]

    try:
        server = await asyncio.get_running_loop().create_server(original, "127.0.0.2", PORT)
    except OSError:
        pytest.skip(f"port {PORT} of 127.0.0.2 is taken on this machine")
    await until(lambda: bool(recorders) and recorders[0].received == b"hello")
    server.close()


def free_port() -> int:
    """One that nobody has at any address, below those that the kernel gives away."""
    while True:
        port = random.randrange(20000, 32000)
        with suppress(OSError):
            listen_everywhere(port).close()
            return port


@in_loop
async def test_a_loopback_port_is_served_at_loopback_in_both_families_and_nowhere_else() -> None:
    pod, port = await Pod().start(), free_port()
    assert await pod.inbound.open_ports((), (port,)) == {}
    pod.client_comes(frozenset({port}))
    loop = asyncio.get_running_loop()
    for count, host in enumerate(("127.0.0.1", "::1"), start=1):
        await loop.create_connection(Recorder, host, port)
        await until(lambda: len(pod.offered) == count)  # noqa: B023  waited for within the loop
        assert pod.offered[-1].opening.port == port
    with pytest.raises(ConnectionRefusedError):
        await loop.create_connection(Recorder, "127.0.0.2", port)


@in_loop
async def test_what_came_by_loopback_is_reset_where_the_rest_is_handed_over() -> None:
    pod, port = await Pod().start(), free_port()
    await pod.inbound.open_ports((), (port,))
    _, before = await asyncio.get_running_loop().create_connection(Recorder, "127.0.0.1", port)
    await pod.held(1)
    pod.inbound.hand_over(["127.0.0.2"])
    assert isinstance(await before.lost, ConnectionResetError)
    _, after = await asyncio.get_running_loop().create_connection(Recorder, "127.0.0.1", port)
    assert isinstance(await after.lost, ConnectionResetError)
    assert pod.inbound.idle


@in_loop
async def test_a_loopback_port_that_is_taken_is_reported() -> None:
    pod, blocker = await Pod().start(), listener()
    port = blocker.getsockname()[1]
    assert await pod.inbound.open_ports((), (port,)) == {str(port): "Address already in use"}
    blocker.close()


@in_loop
async def test_a_port_that_is_taken_is_reported_and_the_others_are_served() -> None:
    blocker = listener("0.0.0.0")
    inbound = Inbound(10, 10.0, is_own=lambda address: False)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    unserved = await inbound.open_ports((blocker.getsockname()[1], free))
    assert unserved == {str(blocker.getsockname()[1]): "Address already in use"}
    caller, _ = await asyncio.get_running_loop().create_connection(Recorder, "127.0.0.1", free)
    await until(lambda: not inbound.idle)
    caller.abort()
    at_end.append(inbound.close)
    blocker.close()
