"""Addresses of a name as the laptop's own programs find them: its hosts file, its name servers, its mDNS."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address

MOST_AT_ONCE = 32
"""Threads; further names wait for one. What the system's resolver is stuck in, it gives up by itself."""

GetAddresses = Callable[[str], list[str]]


class LaptopNames:
    """`await names.addresses(name)`; questions for one name at the same time are asked once."""

    def __init__(self, get: GetAddresses | None = None) -> None:
        self._get = get or system_addresses
        self._slots = asyncio.Semaphore(MOST_AT_ONCE)
        self._asked: dict[str, asyncio.Task[list[str]]] = {}

    async def addresses(self, name: str) -> list[str]:
        """None of them when the name has others than IP addresses; socket.gaierror as getaddrinfo(3) says."""
        task = self._asked.get(name)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._ask(name))
            self._asked[name] = task
            task.add_done_callback(lambda done: self._forget(name, done))
        return await asyncio.shield(task)

    async def _ask(self, name: str) -> list[str]:
        async with self._slots:
            return await _in_thread(self._get, name)

    def _forget(self, name: str, task: asyncio.Task[list[str]]) -> None:
        del self._asked[name]
        if not task.cancelled():
            task.exception()  # those who asked may be gone


def system_addresses(name: str) -> list[str]:
    """Blocks. Only of families that the laptop has addresses in: those of others would lead nowhere."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    addresses = dict.fromkeys(str(entry[4][0]) for entry in found)
    # those of one link need its number, which DNS cannot tell
    return [each for each in addresses if "%" not in each and not _needs_a_zone(each)]


def _needs_a_zone(address: str) -> bool:
    return ":" in address and ip_address(address).is_link_local


async def _in_thread(function: GetAddresses, name: str) -> list[str]:
    """By a thread that the program's end does not wait for: the system's resolver may take half a minute."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[str]] = loop.create_future()

    def tell(result: list[str] | None, error: Exception | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(result or [])

    def ask() -> None:
        result, error = None, None
        try:
            result = function(name)
        except (OSError, UnicodeError) as failed:
            error = failed
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(tell, result, error)

    threading.Thread(target=ask, name="laptop-names", daemon=True).start()
    return await answer
