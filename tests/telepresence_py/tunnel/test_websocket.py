"""A port-forward as the API server speaks it, in this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import pytest
from picows import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)

from telepresence_py.model.errors import ClusterUnreachable, NoRights, SessionLost, TelepresenceError
from telepresence_py.model.network import WebSocketTarget
from telepresence_py.tunnel.websocket import DialFailed, PortForwardBroken, connect
from tests.fakes.loop import in_loop, until
from tests.fakes.sink import Recorder

HEADERS = (("Authorization", "Bearer t0ken"), ("Impersonate-Group", "dev"), ("Impersonate-Group", "öps"))
PORT = (17022).to_bytes(2, "little")


class PortForward(WSListener):
    """Begins both channels with the port number, echoes data."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        self.say(b"\0" + PORT)
        self.begin()
        self.say(b"\1" + PORT)

    def begin(self) -> None: ...

    def say(self, message: bytes, kind: WSMsgType = WSMsgType.BINARY, fin: bool = True) -> None:
        self.transport.send(kind, message, fin)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.BINARY:
            self.say(frame.get_payload_as_bytes())


Answer = Callable[[WSUpgradeRequest], WSListener | WSUpgradeResponseWithListener | None]


@asynccontextmanager
async def api_server(answer: Answer) -> AsyncIterator[WebSocketTarget]:
    server = await ws_create_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield WebSocketTarget(f"ws://127.0.0.1:{port}/forward?ports=17022", 17022, HEADERS)
    finally:
        server.close()


async def dialled(target: WebSocketTarget) -> Recorder:
    recorder = Recorder()
    await connect(target, lambda: recorder)
    return recorder


@in_loop
async def test_credentials_and_subprotocol_are_sent_and_bytes_pass() -> None:
    seen: list[WSUpgradeRequest] = []

    def answer(request: WSUpgradeRequest) -> WSListener:
        seen.append(request)
        return PortForward()

    async with api_server(answer) as target:
        recorder = await dialled(target)
        assert recorder.transport is not None
        recorder.transport.write(b"hello")
        await until(lambda: recorder.received == b"hello")
        assert seen[0].headers["Authorization"] == "Bearer t0ken"
        groups = seen[0].headers.getall("Impersonate-Group")
        assert [group.encode(errors="surrogateescape").decode() for group in groups] == ["dev", "öps"]
        assert seen[0].headers["Sec-WebSocket-Protocol"] == ("SPDY/3.1+portforward.k8s.io, v4.channel.k8s.io")
        recorder.transport.close()
        assert await recorder.lost is None


@in_loop
async def test_the_port_number_is_skipped_once_per_channel_even_with_data_between() -> None:
    class Early(PortForward):
        def begin(self) -> None:
            self.say(b"\0SSH-2.0-early\r\n")

    async with api_server(lambda request: Early()) as target:
        recorder = await dialled(target)
        await until(lambda: recorder.received == b"SSH-2.0-early\r\n")


@in_loop
async def test_a_message_in_fragments_is_put_together() -> None:
    class Fragments(PortForward):
        def begin(self) -> None:
            self.say(b"\0one ", fin=False)
            self.say(b"two ", WSMsgType.CONTINUATION, fin=False)
            self.say(b"three", WSMsgType.CONTINUATION)

    async with api_server(lambda request: Fragments()) as target:
        recorder = await dialled(target)
        await until(lambda: recorder.received == b"one two three")


@in_loop
async def test_messages_that_come_together_are_handed_over_together() -> None:
    class Talkative(PortForward):
        def begin(self) -> None:
            for _ in range(50):
                self.say(b"\0word ")
            self.say(b"", WSMsgType.PING)

    async with api_server(lambda request: Talkative()) as target:
        recorder = await dialled(target)
        await until(lambda: recorder.received == b"word " * 50)
        assert len(recorder.pieces) < 5


@in_loop
async def test_the_error_channel_ends_the_connection_with_its_text() -> None:
    class Refusing(PortForward):
        def begin(self) -> None:
            self.say(b"\1" + PORT)
            self.say(b"\1error forwarding port 17022: connection refused")

    async with api_server(lambda request: Refusing()) as target:
        recorder = await dialled(target)
        reason = await recorder.lost
        assert isinstance(reason, PortForwardBroken)
        assert str(reason) == "error forwarding port 17022: connection refused"


@in_loop
async def test_a_server_that_takes_spdy_is_spoken_to_in_spdy() -> None:
    heard: list[bytes] = []

    class InSpdy(PortForward):
        def on_ws_connected(self, transport: WSTransport) -> None:
            self.transport = transport

        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if frame.msg_type is WSMsgType.BINARY:
                heard.append(frame.get_payload_as_bytes())
                if len(heard) > 1:
                    self.say(heard[-1])
                    self.say(b"\0\0\0\1\0\0\0\4gone")

    def answer(request: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
        headers = {"Sec-WebSocket-Protocol": "SPDY/3.1+portforward.k8s.io"}
        return WSUpgradeResponseWithListener(WSUpgradeResponse.create_101_response(headers), InSpdy())

    async with api_server(answer) as target:
        recorder = await dialled(target)
        assert recorder.transport is not None
        recorder.transport.write(b"hello")
        assert str(await recorder.lost) == "gone"
        assert recorder.received == b"hello"
        assert heard[0].startswith(b"\x80\3\0\1")
        assert heard[1] == b"\0\0\0\3\0\0\0\5hello"


@pytest.mark.parametrize(
    ("subprotocol", "before"), [("SPDY/3.1+portforward.k8s.io", b"\0\0\0\3\0\3\r@"), ("", b"\0")]
)
@in_loop
async def test_a_packet_with_room_before_it_is_sent_as_a_write_is(subprotocol: str, before: bytes) -> None:
    heard: list[bytes] = []

    class Hearing(WSListener):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            heard.append(frame.get_payload_as_bytes())

    def answer(request: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
        headers = {"Sec-WebSocket-Protocol": subprotocol} if subprotocol else {}
        return WSUpgradeResponseWithListener(WSUpgradeResponse.create_101_response(headers), Hearing())

    packet = bytes(range(250)) * 800
    async with api_server(answer) as target:
        transport: Any = (await dialled(target)).transport
        transport.write(packet)
        transport.write_packet(bytearray(transport.lead) + packet)
        await until(lambda: len(heard) >= 2 and len(heard[-1]) > 1000 and heard[-1] == heard[-2])
        assert heard[-1] == before + packet
        transport.close()
        transport.write_packet(bytearray(transport.lead) + b"too late")


@in_loop
async def test_a_very_long_write_leaves_in_several_messages() -> None:
    async with api_server(lambda request: PortForward()) as target:
        recorder = await dialled(target)
        assert recorder.transport is not None
        recorder.transport.writelines([bytes(1 << 20), b"x" * (2 << 20)])
        await until(lambda: len(recorder.received) == 3 << 20)
        assert recorder.received.count(b"x") == 2 << 20


def refusing(status: HTTPStatus, message: str) -> Answer:
    body = json.dumps({"kind": "Status", "message": message}).encode()
    return lambda request: WSUpgradeResponseWithListener(
        WSUpgradeResponse.create_error_response(status, body), None
    )


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (HTTPStatus.UNAUTHORIZED, ClusterUnreachable, "does not accept the credentials; log in again"),
        (HTTPStatus.FORBIDDEN, NoRights, "cannot create resource"),
        (HTTPStatus.NOT_FOUND, SessionLost, "the sidecar pod is gone"),
    ],
)
@in_loop
async def test_a_refusal_says_what_to_do(
    status: HTTPStatus, error: type[TelepresenceError], words: str
) -> None:
    async with api_server(refusing(status, "pods/portforward: cannot create resource")) as target:
        with pytest.raises(error, match=words) as caught:
            await dialled(target)
        assert "t0ken" not in str(caught.value)


@in_loop
async def test_a_server_in_trouble_is_worth_another_try() -> None:
    async with api_server(refusing(HTTPStatus.SERVICE_UNAVAILABLE, "etcd is away")) as target:
        with pytest.raises(DialFailed, match="etcd is away"):
            await dialled(target)


@in_loop
async def test_an_absent_server_is_worth_another_try() -> None:
    async with api_server(lambda request: PortForward()) as target:
        pass
    with pytest.raises(DialFailed, match="could not be reached"):
        await dialled(target)


@in_loop
async def test_credentials_that_are_not_accepted_are_looked_for_anew_once() -> None:
    asked: list[bool] = []

    def refused() -> bool:
        asked.append(True)
        return True

    async with api_server(refusing(HTTPStatus.UNAUTHORIZED, "Unauthorized")) as target:
        with pytest.raises(DialFailed, match="log in again"):
            await dialled(replace(target, refused=refused))
    assert asked == [True]


@in_loop
async def test_backlog_is_told_and_writing_resumes() -> None:
    class Slow(PortForward):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            self.got = getattr(self, "got", 0) + frame.payload_size

        def begin(self) -> None:
            self.transport.underlying_transport.pause_reading()
            servers.append(self)

    servers: list[Slow] = []
    async with api_server(lambda request: Slow()) as target:
        recorder = await dialled(target)
        assert recorder.transport is not None
        recorder.transport.set_write_buffer_limits(high=1 << 16)
        while not recorder.paused:
            recorder.transport.write(bytes(1 << 16))
        assert recorder.transport.get_write_buffer_size() > 1 << 16
        servers[0].transport.underlying_transport.resume_reading()
        await until(lambda: not recorder.paused)
        recorder.transport.abort()
        await asyncio.wait([recorder.lost])
