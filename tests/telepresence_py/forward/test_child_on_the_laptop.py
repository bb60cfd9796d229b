"""The cluster's connections to a child that has no network of its own (`--method proxy`)."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest
import trio

from telepresence_py.forward.inbound import ChildNetwork, serve_inbound
from telepresence_py.isolation import proxy
from telepresence_py.model.network import PortMap
from telepresence_py.model.world import NetworkView
from telepresence_py.tunnel.bridge import in_asyncio
from telepresence_sidecar.contract.frames import Kind, Opening
from tests.fakes.loop import until
from tests.fakes.sink import Recorder
from tests.telepresence_py.forward.worlds import MuxTunnel, in_session


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def tell_peer(listener: socket.socket) -> None:
    with listener.accept()[0] as accepted:
        accepted.sendall(json.dumps(accepted.getpeername()[0]).encode())


async def told(tunnel: MuxTunnel, client: str) -> str:
    """What the child has for the address of a client that calls the pod from there."""

    async def ask() -> str:
        stream = tunnel.pair.pod.open(Opening(Kind.INBOUND, client, 80, 40000))
        heard = Recorder()
        stream.set_protocol(heard)
        await until(heard.eof.is_set)
        return str(json.loads(heard.received))

    return await in_asyncio(ask)


@pytest.mark.parametrize("listens_on", ["127.0.0.1", "::1", "0.0.0.0", "::"])
def test_it_is_called_from_its_own_loopback_whoever_calls_the_pod(listens_on: str) -> None:
    """Addresses of clients are none of the laptop's: a connection that came from one would get no answer."""

    @in_session
    async def test() -> None:
        async with proxy.enter(NetworkView("orders", ("10.1.2.3",)), lambda _text: None) as world:
            family = socket.AF_INET6 if ":" in listens_on else socket.AF_INET
            with socket.create_server((listens_on, 0), family=family) as listener:
                port = listener.getsockname()[1]
                child = ChildNetwork(world.socket, world.listening_ports, (), world.diagnosis, False)
                tunnel = MuxTunnel()
                async with trio.open_nursery() as nursery:
                    async with serve_inbound(nursery, (PortMap(80, port),), child) as inbound:
                        inbound.attach(tunnel.as_tunnel())
                        await inbound.wait_listening()
                        for client in ("198.51.100.7", "2001:db8::7"):
                            answering = threading.Thread(target=tell_peer, args=(listener,))
                            answering.start()
                            assert await told(tunnel, client) in ("127.0.0.1", "::1")
                            answering.join()
                    nursery.cancel_scope.cancel()

    test()
