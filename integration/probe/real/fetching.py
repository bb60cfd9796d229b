"""fetching.py URL HOST PORT: by httpx, twice over one connection; then by asyncio to HOST, whose addresses do
not all answer, with happy eyeballs. Prints what was said. Needs python3-httpx."""

from __future__ import annotations

import asyncio
import sys

import httpx


async def by_asyncio(host: str, port: str) -> str:
    reader, writer = await asyncio.open_connection(host, int(port), happy_eyeballs_delay=0.25)
    writer.write(f"GET / HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer.decode().rpartition("\r\n\r\n")[2].strip()


async def by_httpx(url: str) -> list[str]:
    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        return [(await client.get(url)).text.strip() for _ in range(2)]


async def main(url: str, host: str, port: str) -> None:
    print(*await by_httpx(url), await by_asyncio(host, port), sep="\n")


asyncio.run(main(*sys.argv[1:]))
