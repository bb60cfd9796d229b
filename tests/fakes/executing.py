"""The API server's exec over WebSocket, as of Kubernetes 1.30 on: programs of this machine stand for those of
the container's image."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from picows import (
    WSCloseCode,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)

from telepresence_py.model.network import WebSocketTarget

PIECE = 32 << 10


@dataclass
class ExecServer:
    """`path` is where the container's programs are. `asked` are the commands that came. The first `broken`
    ones are not answered to their end, and the first `lossy` ones lose most of
    what the program wrote, as a runtime on a busy machine does."""

    path: str = os.environ.get("PATH", "/usr/bin:/bin")
    broken: int = 0
    lossy: int = 0
    asked: list[list[str]] = field(default_factory=list)
    protocols: list[str] = field(default_factory=list)
    url: str = ""

    def target(self, *command: str) -> WebSocketTarget:
        query = urlencode([("stdout", "true"), ("stderr", "true"), *(("command", word) for word in command)])
        return WebSocketTarget(f"{self.url}/exec?{query}", 0, (("Authorization", "Bearer t0ken"),))

    def answer(self, request: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
        command = parse_qs(urlsplit(request.path.decode()).query)["command"]
        self.asked.append(command)
        self.protocols.append(request.headers["Sec-WebSocket-Protocol"])
        headers = {"Sec-WebSocket-Protocol": self.protocols[-1].split(",")[0]}
        return WSUpgradeResponseWithListener(
            WSUpgradeResponse.create_101_response(headers), _Running(self, command)
        )


class _Running(WSListener):
    def __init__(self, server: ExecServer, command: list[str]) -> None:
        self._server = server
        self._command = command

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(transport))

    async def _run(self, transport: WSTransport) -> None:
        out, err, status = await run(self._command, self._server.path)
        if self._server.lossy:
            self._server.lossy -= 1
            out = out[: len(out) // 16]
        for channel, content in ((1, out), (2, err)):
            for start in range(0, len(content), PIECE):
                transport.send(WSMsgType.BINARY, bytes([channel]) + content[start : start + PIECE])
        if self._server.broken:
            self._server.broken -= 1
            transport.disconnect(False)
            return
        transport.send(WSMsgType.BINARY, b"\3" + json.dumps(status).encode())
        transport.send_close(WSCloseCode.OK)
        transport.disconnect()


async def run(command: list[str], path: str) -> tuple[bytes, bytes, dict[str, Any]]:
    """stdout, stderr, and the Status as the kubelet makes it."""
    program = next(
        (one for one in (f"{each}/{command[0]}" for each in path.split(":")) if os.access(one, os.X_OK)), ""
    )
    if not program:
        message = f'Internal error occurred: exec: "{command[0]}": executable file not found in $PATH'
        return b"", b"", {"status": "Failure", "reason": "InternalError", "message": message, "code": 500}
    process = await asyncio.create_subprocess_exec(
        program,
        *command[1:],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": path},
    )
    out, err = await process.communicate()
    if process.returncode == 0:
        return out, err, {"metadata": {}, "status": "Success"}
    cause = {"reason": "ExitCode", "message": str(process.returncode)}
    return (
        out,
        err,
        {
            "metadata": {},
            "status": "Failure",
            "message": f"command terminated with non-zero exit code: exit status {process.returncode}",
            "reason": "NonZeroExitCode",
            "details": {"causes": [cause]},
        },
    )


@asynccontextmanager
async def exec_server(path: str | None = None) -> AsyncIterator[ExecServer]:
    """asyncio."""
    fake = ExecServer() if path is None else ExecServer(path)
    server = await ws_create_server(fake.answer, "127.0.0.1", 0)
    fake.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield fake
    finally:
        server.close()
