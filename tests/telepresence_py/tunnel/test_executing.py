"""Programs in a container, by the API server's exec."""

from __future__ import annotations

import json
from http import HTTPStatus

import pytest
from picows import (
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)

from telepresence_py.model.errors import ClusterUnreachable, NoRights, PreconditionFailed, TelepresenceError
from telepresence_py.tunnel import executing
from telepresence_py.tunnel.executing import Executed, execute
from tests.fakes.executing import ExecServer, exec_server
from tests.fakes.loop import in_loop
from tests.telepresence_py.tunnel.test_websocket import api_server


async def ran(server: ExecServer, *command: str, most_bytes: int = 1 << 20) -> Executed:
    return await execute(lambda: server.target(*command), most_bytes)


@in_loop
async def test_what_a_program_writes_comes_byte_for_byte_with_its_exit_code() -> None:
    async with exec_server() as server:
        done = await ran(
            server, "sh", "-c", r"head -c 200000 /dev/zero; printf '\1\2\3\377'; echo no >&2; exit 3"
        )
        assert done.out == bytes(200000) + b"\1\2\3\377"
        assert (done.code, done.err, done.is_cut) == (3, "no\n", False)
        assert (await ran(server, "true")) == Executed(0, b"", "")
        assert server.protocols[0] == "v5.channel.k8s.io, v4.channel.k8s.io"


@in_loop
async def test_a_program_that_is_not_there_has_no_exit_code_but_a_reason() -> None:
    async with exec_server("/nowhere") as server:
        done = await ran(server, "tar", "-c")
        assert done.code is None
        assert "not found" in done.reason
    async with exec_server() as server:
        done = await ran(server, "sh", "-c", "echo runc: exec failed >&2; exit 126")
        assert (done.code, done.reason) == (None, "runc: exec failed")


@in_loop
async def test_more_than_is_wanted_is_cut_and_not_waited_for() -> None:
    async with exec_server() as server:
        done = await ran(server, "head", "-c", "300000", "/dev/zero", most_bytes=1000)
        assert done.is_cut
        assert len(done.out) > 1000


@in_loop
async def test_a_connection_that_breaks_is_tried_again_but_not_for_ever() -> None:
    async with exec_server() as server:
        server.broken = executing.TRIES - 1
        assert (await ran(server, "echo", "there")).out == b"there\n"
        server.broken = executing.TRIES
        with pytest.raises(ClusterUnreachable, match="broke"):
            await ran(server, "echo")


@in_loop
async def test_a_message_in_fragments_is_of_one_channel() -> None:
    class Fragments(WSListener):
        def on_ws_connected(self, transport: WSTransport) -> None:
            transport.send(WSMsgType.BINARY, b"\1one ", fin=False)
            transport.send(WSMsgType.CONTINUATION, b"\1two")
            transport.send(WSMsgType.BINARY, b"")
            transport.send(WSMsgType.BINARY, b"\3" + json.dumps({"status": "Success"}).encode())
            transport.disconnect()

    async with api_server(lambda request: Fragments()) as target:
        assert (await execute(lambda: target, 100)).out == b"one \1two"


@in_loop
async def test_a_program_that_says_nothing_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(executing, "SILENCE_SECONDS", 0.05)
    async with api_server(lambda request: WSListener()) as target:
        with pytest.raises(ClusterUnreachable):
            await execute(lambda: target, 100)


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (HTTPStatus.FORBIDDEN, NoRights, "pods/exec"),
        (HTTPStatus.NOT_FOUND, PreconditionFailed, "the pod"),
        (HTTPStatus.BAD_REQUEST, PreconditionFailed, "the pod"),
        (HTTPStatus.UNAUTHORIZED, ClusterUnreachable, "log in again"),
        (HTTPStatus.BAD_GATEWAY, ClusterUnreachable, "try again"),
    ],
)
@in_loop
async def test_a_refusal_says_what_to_do(
    status: HTTPStatus, error: type[TelepresenceError], words: str
) -> None:
    def answer(request: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
        body = json.dumps({"kind": "Status", "message": "because"}).encode()
        return WSUpgradeResponseWithListener(WSUpgradeResponse.create_error_response(status, body), None)

    async with api_server(answer) as target:
        with pytest.raises(error, match=words):
            await execute(lambda: target, 100)


@pytest.mark.parametrize(
    "status", [b"", b"no JSON", b"[]", b'{"status": "Failure", "reason": "NonZeroExitCode", "details": {}}']
)
def test_a_status_that_is_none_is_no_end(status: bytes) -> None:
    assert executing._ending(status) == (None, "")
