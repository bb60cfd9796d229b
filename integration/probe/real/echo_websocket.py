"""A WebSocket server and its client. Needs python3-websockets.

echo_websocket.py serve PORT
echo_websocket.py call HOST PORT      prints what came back of a text and of many bytes, and how it was closed
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import websockets

SIZE = 500_000
PATIENCE = 20.0


async def echo(connection: Any) -> None:
    async for message in connection:
        await connection.send(message)


async def serve(port: int) -> None:
    async with websockets.serve(echo, None, port):
        await asyncio.Future()


async def call(host: str, port: str) -> dict[str, object]:
    async with websockets.connect(f"ws://{host}:{port}/some/path", open_timeout=PATIENCE) as connection:
        await connection.send("said")
        text = await connection.recv()
        await asyncio.wait_for(await connection.ping(), PATIENCE)
        await connection.send(bytes(SIZE))
        received = await connection.recv()
    return {"text": text, "bytes": len(received), "closed": connection.close_code}


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve(int(sys.argv[2])))
    else:
        print(json.dumps(asyncio.run(call(*sys.argv[2:4]))))
